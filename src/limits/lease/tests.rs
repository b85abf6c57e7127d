use super::*;
use crate::identity::Caller;
use crate::limits::{Algorithm, Shape, Tally};
use crate::store::{KeyHasher, Lines, MemoryLines, Table, WAYS, payload_of};

pub(super) const START: Timestamp = Timestamp(1_800_000_000_000_000_000);
pub(super) const POLICY: LeasePolicy = LeasePolicy { share: Ratio { ppm: 20_000 }, at_least: Amount(1_000) };
pub(super) const WINDOW: Span = Span::from_secs(60);

/// The table that the workers of a process share.
pub(super) struct Process {
    pub(super) lines: MemoryLines,
    keys: KeyHasher,
    sets: u32,
}

impl Process {
    pub(super) fn new() -> Self {
        Self { lines: MemoryLines::new(), keys: KeyHasher::new(&[3; 16]), sets: 16 }
    }

    /// Runs what a worker does so many milliseconds after the start.
    pub(super) fn at<T>(&self, millis: u64, run: impl FnOnce(&Ledger<'_>) -> T) -> T {
        self.when(START + Span::from_millis(millis), run)
    }

    pub(super) fn when<T>(&self, now: Timestamp, run: impl FnOnce(&Ledger<'_>) -> T) -> T {
        let table = Table::new(&self.lines as &dyn Lines, self.sets);
        run(&Ledger::new(&table, &self.keys, now))
    }
}

pub(super) fn limit(counts: &str, max: u64) -> Rc<Limit> {
    let limit = Limit::example("shared", counts, max);
    let shape = Shape { algorithm: Algorithm::FixedWindow, window: WINDOW, ..limit.shape };
    Rc::new(Limit { shape, ..limit })
}

/// A hundred thousand tokens a minute.
fn tokens() -> Rc<Limit> {
    limit("tokens", 100_000)
}

pub(super) fn account(limit: &Rc<Limit>, user: &str) -> Account {
    Process::new().at(0, |ledger| {
        let caller = Caller::new(vec![("user".into(), user.as_bytes().to_vec())]);
        Account::of(limit, &Subject { caller: &caller, model: "gpt-4o", api: "openai_chat" }, ledger)
    })
}

pub(super) fn told(remaining: u64, reset_millis: u64) -> Told {
    Told { remaining: Some(Amount(remaining)), reset: Some(Span::from_millis(reset_millis)) }
}

const NOTHING: Told = Told { remaining: None, reset: None };

/// What a test looks at.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Taken,
    Short,
    Spent(Span),
}

/// Takes and forgets the ticket.
fn take(account: &Account, amount: u64, ledger: &Ledger<'_>) -> (Got, Option<Amount>) {
    let (taken, more) = account.take(Amount(amount), &POLICY, ledger);
    let got = match taken {
        Taken::Taken(..) => Got::Taken,
        Taken::Short => Got::Short,
        Taken::Spent(wait, _) => Got::Spent(wait),
    };
    (got, more)
}

fn ticket(account: &Account, amount: u64, ledger: &Ledger<'_>) -> Ticket {
    match account.take(Amount(amount), &POLICY, ledger).0 {
        Taken::Taken(ticket, _) => ticket,
        other => panic!("{amount}: {other:?}"),
    }
}

/// What is left of the lease: the most that can be taken.
fn left(account: &Account, ledger: &Ledger<'_>) -> u64 {
    let stored = |stored: Option<&_>| Lease::open(stored?, &account.limit, ledger.now);
    ledger.table.peek(&account.key, ledger.now, stored).unwrap().map_or(0, |lease| lease.left.0)
}

/// A process that at 0 s has learned of 50,000 tokens for 40 more seconds, and was granted 1,000 of them.
fn leased(account: &Account) -> Process {
    let process = Process::new();
    process.at(0, |ledger| {
        assert_eq!(account.learn(told(50_000, 40_000), &POLICY, ledger), Some(Amount(1_000)));
        account.granted(Amount(1_000), told(49_000, 40_000), ledger);
    });
    process
}

#[test]
fn the_first_call_asks_for_itself_and_nobody_asks_for_more() {
    Process::new().at(0, |ledger| {
        assert_eq!(take(&account(&tokens(), "ada"), 1, ledger), (Got::Short, None));
    });
}

#[test]
fn what_the_first_call_learns_says_how_much_to_lease() {
    for (remaining, want) in [(90_000, Some(1_800)), (50_000, Some(1_000)), (1_001, Some(1_000)), (999, None)]
    {
        Process::new().at(0, |ledger| {
            let account = account(&tokens(), "ada");
            assert_eq!(
                account.learn(told(remaining, 40_000), &POLICY, ledger),
                want.map(Amount),
                "{remaining}"
            );
        });
    }
}

#[test]
fn the_least_lease_is_of_tokens_only() {
    for (counts, remaining, want) in
        [("requests", 1_000, Some(20)), ("cost_usd", 1_000, Some(20)), ("input_tokens", 2_000, Some(1_000))]
    {
        Process::new().at(0, |ledger| {
            let account = account(&limit(counts, 5_000), "ada");
            assert_eq!(account.learn(told(remaining, 40_000), &POLICY, ledger), want.map(Amount), "{counts}");
        });
    }
}

#[test]
fn of_an_empty_budget_nothing_is_asked_for() {
    Process::new().at(0, |ledger| {
        let account = account(&limit("requests", 100), "ada");
        assert_eq!(account.learn(told(0, 40_000), &POLICY, ledger), None);
    });
}

#[test]
fn a_service_that_never_tells_what_remains_is_asked_for_a_share_of_the_whole() {
    Process::new().at(0, |ledger| {
        let account = account(&tokens(), "ada");
        assert_eq!(account.learn(NOTHING, &POLICY, ledger), Some(Amount(2_000)));
        assert_eq!(self::account(&limit("tokens", 900), "ada").learn(NOTHING, &POLICY, ledger), None);
    });
}

#[test]
fn what_is_granted_can_be_taken_and_no_more() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        assert_eq!(take(&account, 600, ledger).0, Got::Taken);
        assert_eq!(take(&account, 401, ledger).0, Got::Short);
        assert_eq!(take(&account, 400, ledger).0, Got::Taken);
        assert_eq!(take(&account, 1, ledger).0, Got::Short);
    });
}

#[test]
fn callers_and_limits_have_leases_of_their_own() {
    let ada = account(&tokens(), "ada");
    leased(&ada).at(1_000, |ledger| {
        assert_eq!(take(&account(&tokens(), "bob"), 1, ledger).0, Got::Short);
        assert_eq!(take(&account(&limit("requests", 9), "ada"), 1, ledger).0, Got::Short);
    });
}

#[test]
fn a_lease_is_never_found_by_the_key_of_a_budget() {
    let limit = tokens();
    let caller = Caller::new(vec![("user".into(), b"ada".to_vec())]);
    let subject = Subject { caller: &caller, model: "gpt-4o", api: "openai_chat" };
    let process = Process::new();

    assert_ne!(account(&limit, "ada").key, limit.key(&process.keys, &subject));
}

#[test]
fn more_is_asked_for_when_less_than_half_a_lease_is_left_and_not_before() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        assert_eq!(take(&account, 500, ledger), (Got::Taken, None));
        assert_eq!(take(&account, 1, ledger), (Got::Taken, Some(Amount(1_000))));
    });
}

#[test]
fn a_call_that_finds_too_little_left_asks_for_more_too() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        assert_eq!(take(&account, 2_000, ledger), (Got::Short, None));
        account.take(Amount(1_000), &POLICY, ledger).1.unwrap();
        account.not_granted(ledger);
        assert_eq!(take(&account, 2_000, ledger), (Got::Short, Some(Amount(1_000))));
    });
}

#[test]
fn a_lease_of_one_request_is_asked_for_when_none_is_left() {
    let account = account(&limit("requests", 50), "ada");
    Process::new().at(0, |ledger| {
        assert_eq!(account.learn(told(50, 40_000), &POLICY, ledger), Some(Amount(1)));
        account.granted(Amount(1), told(49, 40_000), ledger);
        assert_eq!(take(&account, 1, ledger), (Got::Taken, Some(Amount(1))));
    });
}

#[test]
fn of_all_workers_one_asks() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |ledger| assert_eq!(take(&account, 600, ledger).1, Some(Amount(1_000))));

    for millis in [1_000, 1_500, 2_990] {
        process.at(millis, |ledger| {
            assert_eq!(take(&account, 1, ledger), (Got::Taken, None));
            assert_eq!(account.learn(told(48_000, 40_000 - millis), &POLICY, ledger), None);
        });
    }
}

#[test]
fn after_two_seconds_without_an_answer_another_asks() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |ledger| assert!(take(&account, 600, ledger).1.is_some()));

    process.at(3_010, |ledger| assert_eq!(take(&account, 1, ledger), (Got::Taken, Some(Amount(1_000)))));
    process.at(3_011, |ledger| assert_eq!(take(&account, 1, ledger), (Got::Taken, None)));
}

#[test]
fn after_an_answer_another_asks_when_there_is_need() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        assert!(take(&account, 600, ledger).1.is_some());
        account.not_granted(ledger);
        assert!(take(&account, 1, ledger).1.is_some());
        account.granted(Amount(50), NOTHING, ledger);
        assert!(take(&account, 1, ledger).1.is_some());
    });
}

#[test]
fn what_a_grant_leaves_is_reckoned_if_the_service_does_not_tell() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        account.granted(Amount(4_000), NOTHING, ledger);

        let standing = account.standing(ledger).unwrap();

        assert_eq!(standing.available, Amount(45_000 + 5_000));
    });
}

#[test]
fn a_standing_says_what_remains_at_the_service_and_here() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        let (taken, _) = account.take(Amount(300), &POLICY, ledger);
        let Taken::Taken(_, Some(after)) = taken else { panic!("{taken:?}") };

        for standing in [account.standing(ledger).unwrap(), after] {
            assert_eq!(standing.available, Amount(49_700));
            assert_eq!(standing.spent, Amount(50_300));
            assert_eq!(standing.reset, Span::from_secs(39));
        }
    });
}

#[test]
fn nothing_is_known_of_a_budget_untouched_or_never_told_of() {
    let account = account(&tokens(), "ada");
    Process::new().at(0, |ledger| {
        assert!(account.standing(ledger).is_none());
        account.granted(Amount(10), NOTHING, ledger);
        assert!(account.standing(ledger).is_none());
    });
}

#[test]
fn with_the_window_everything_ends() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(39_999, |ledger| assert_eq!(take(&account, 1, ledger).0, Got::Taken));

    process.at(40_000, |ledger| {
        assert!(account.standing(ledger).is_none());
        assert_eq!(take(&account, 1, ledger), (Got::Short, None));
        assert_eq!(left(&account, ledger), 0);
    });
}

#[test]
fn a_lease_whose_end_is_never_told_ends_a_window_after_it_began() {
    let account = account(&tokens(), "ada");
    let process = Process::new();
    process.at(0, |ledger| assert!(account.learn(NOTHING, &POLICY, ledger).is_some()));
    process.at(30_000, |ledger| account.granted(Amount(2_000), NOTHING, ledger));

    process.at(59_999, |ledger| assert_eq!(take(&account, 1, ledger).0, Got::Taken));
    process.at(60_000, |ledger| assert_eq!(take(&account, 1, ledger).0, Got::Short));
}

#[test]
fn in_a_new_window_nothing_is_left_of_the_old_one() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    // The end was told too late: the service is in its next window already.
    process.at(39_500, |ledger| {
        assert_eq!(account.learn(told(99_000, 59_900), &POLICY, ledger), Some(Amount(1_980)));
        assert_eq!(left(&account, ledger), 0);
        account.granted(Amount(1_980), told(97_020, 59_900), ledger);
        assert_eq!(left(&account, ledger), 1_980);
    });
}

#[test]
fn a_new_window_forgets_refusals_but_not_who_is_asking() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(39_500, |ledger| {
        account.refused(Amount(2_000), NOTHING, ledger);
        assert!(take(&account, 600, ledger).1.is_some());
        assert_eq!(account.learn(told(99_000, 59_900), &POLICY, ledger), None);
        assert_eq!(take(&account, 2_000, ledger), (Got::Short, None));
    });
}

#[test]
fn ends_told_up_to_a_second_and_a_half_apart_are_of_one_window() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    for (reset, expected) in [(41_500, 1_000), (39_100, 1_000), (40_000, 1_000)] {
        process.at(0, |ledger| {
            account.learn(told(49_000, reset), &POLICY, ledger);
            assert_eq!(left(&account, ledger), expected, "{reset}");
            // The earliest of them counts.
            assert_eq!(
                account.standing(ledger).unwrap().reset,
                Span::from_millis(reset.min(40_000).min(39_100).max(39_100)).max(if reset == 41_500 {
                    Span::from_millis(40_000)
                } else {
                    Span::ZERO
                })
            );
        });
    }
    process.at(0, |ledger| {
        account.learn(told(49_000, 39_100 + 1_501), &POLICY, ledger);
        assert_eq!(left(&account, ledger), 0);
    });
}

#[test]
fn an_end_farther_away_than_the_window_is_long_is_not_believed() {
    let account = account(&tokens(), "ada");
    let process = Process::new();
    for (millis, reset) in [(0, 86_400_000), (30_000, u64::MAX), (31_000, 0)] {
        process.at(millis, |ledger| {
            account.granted(Amount(10), told(5_000, reset), ledger);
            assert_eq!(account.standing(ledger).unwrap().reset, Span::from_millis(60_000 - millis));
        });
    }
    process.at(31_000, |ledger| assert_eq!(left(&account, ledger), 30));
}

#[test]
fn what_a_call_did_not_use_goes_back() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        let ticket = ticket(&account, 800, ledger);
        assert_eq!(ticket.amount(), Amount(800));

        assert_eq!(ticket.correct_to(Amount(300), ledger), Amount::ZERO);

        assert_eq!(left(&account, ledger), 700);
    });
}

#[test]
fn what_a_call_used_exactly_needs_no_correction() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |ledger| {
        let ticket = ticket(&account, 800, ledger);
        let writes = process.lines.writes();

        assert_eq!(ticket.correct_to(Amount(800), ledger), Amount::ZERO);

        assert_eq!((left(&account, ledger), process.lines.writes()), (200, writes));
    });
}

#[test]
fn what_a_call_used_more_comes_from_the_lease_as_far_as_it_goes() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        let (one, other) = (ticket(&account, 500, ledger), ticket(&account, 300, ledger));

        assert_eq!(one.correct_to(Amount(650), ledger), Amount::ZERO);
        assert_eq!(left(&account, ledger), 50);
        assert_eq!(other.correct_to(Amount(450), ledger), Amount(100));
        assert_eq!(left(&account, ledger), 0);
    });
}

#[test]
fn after_its_window_nothing_of_a_call_goes_back_and_all_that_was_too_little_is_uncovered() {
    for next_window in [false, true] {
        let account = account(&tokens(), "ada");
        let process = leased(&account);
        let tickets =
            process.at(1_000, |ledger| [400, 300, 200].map(|amount| ticket(&account, amount, ledger)));
        process.at(41_000, |ledger| {
            if next_window {
                account.granted(Amount(1_000), told(90_000, 59_000), ledger);
            }
            let before = left(&account, ledger);

            let uncovered = tickets.map(|ticket| ticket.correct_to(Amount(250), ledger).0);

            assert_eq!((uncovered, left(&account, ledger)), ([0, 0, 50], before), "{next_window}");
        });
    }
}

#[test]
fn a_ticket_of_a_window_told_anew_still_belongs_to_it() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    let ticket = process.at(1_000, |ledger| ticket(&account, 800, ledger));
    process.at(2_000, |ledger| account.granted(Amount(1), told(48_000, 37_200), ledger));

    process.at(3_000, |ledger| {
        assert_eq!(ticket.correct_to(Amount(0), ledger), Amount::ZERO);
        assert_eq!(left(&account, ledger), 1_001);
    });
}

#[test]
fn what_a_call_that_asked_for_itself_did_not_need_is_left_to_others() {
    let account = account(&tokens(), "ada");
    let process = Process::new();
    process.at(0, |ledger| assert!(account.learn(told(50_000, 40_000), &POLICY, ledger).is_some()));

    process.at(9_000, |ledger| {
        account.put_back(Amount(70), START, ledger);
        assert_eq!(left(&account, ledger), 70);
    });
}

#[test]
fn what_was_charged_in_an_earlier_window_is_not_put_back_into_this_one() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(40_000, |ledger| {
        account.put_back(Amount(70), START, ledger);
        assert_eq!(left(&account, ledger), 0);
        assert!(account.learn(told(99_000, 60_000), &POLICY, ledger).is_some());

        account.put_back(Amount(70), START + Span::from_millis(39_999), ledger);
        assert_eq!(left(&account, ledger), 0);
        account.put_back(Amount(70), START + Span::from_millis(40_000), ledger);
        assert_eq!(left(&account, ledger), 70);
    });
}

#[test]
fn what_was_refused_is_refused_at_once_until_the_window_ends() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        account.refused(Amount(5_000), told(4_000, 39_000), ledger);

        assert_eq!(take(&account, 5_000, ledger), (Got::Spent(Span::from_secs(39)), None));
        assert_eq!(take(&account, 6_000, ledger).0, Got::Spent(Span::from_secs(39)));
        assert_eq!(take(&account, 4_999, ledger).0, Got::Short);
    });
}

#[test]
fn a_refusal_says_where_the_budget_stands() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        account.refused(Amount(5_000), told(4_000, 39_000), ledger);

        let (taken, _) = account.take(Amount(5_000), &POLICY, ledger);

        let Taken::Spent(_, Some(standing)) = taken else { panic!("{taken:?}") };
        assert_eq!(standing.available, Amount(5_000));
    });
}

#[test]
fn after_a_refusal_less_than_that_remains() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        account.refused(Amount(5_000), NOTHING, ledger);

        assert_eq!(account.standing(ledger).unwrap().available, Amount(4_999 + 1_000));
    });
}

#[test]
fn what_is_leased_can_be_taken_whatever_was_refused() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        account.refused(Amount(10), told(5, 39_000), ledger);

        assert_eq!(take(&account, 1_000, ledger).0, Got::Taken);
        assert_eq!(take(&account, 10, ledger).0, Got::Spent(Span::from_secs(39)));
    });
}

#[test]
fn a_refusal_is_believed_for_ten_seconds() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |ledger| account.refused(Amount(5_000), NOTHING, ledger));

    process
        .at(10_990, |ledger| assert_eq!(take(&account, 5_000, ledger).0, Got::Spent(Span(29_010_000_000))));
    process.at(11_010, |ledger| assert_eq!(take(&account, 5_000, ledger).0, Got::Short));
}

#[test]
fn a_refusal_is_not_believed_beyond_its_window() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(39_000, |ledger| account.refused(Amount(5_000), NOTHING, ledger));

    process.at(40_000, |ledger| assert_eq!(take(&account, 5_000, ledger).0, Got::Short));
}

#[test]
fn the_smallest_amount_refused_counts() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |ledger| {
        for amount in [5_000, 3_000, 4_000] {
            account.refused(Amount(amount), NOTHING, ledger);
        }
        assert!(matches!(take(&account, 3_000, ledger).0, Got::Spent(_)));
    });
    // Its ten seconds are not prolonged by what was refused beside it.
    process.at(9_000, |ledger| account.refused(Amount(4_000), NOTHING, ledger));
    process.at(12_000, |ledger| assert_eq!(take(&account, 3_000, ledger).0, Got::Short));
}

#[test]
fn a_first_call_that_is_refused_is_remembered_for_a_window() {
    let account = account(&tokens(), "ada");
    Process::new().at(0, |ledger| {
        account.refused(Amount(500), NOTHING, ledger);

        assert_eq!(take(&account, 500, ledger), (Got::Spent(WINDOW), None));
    });
}

#[test]
fn a_lease_as_large_as_what_was_refused_is_not_asked_for() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        assert_eq!(take(&account, 900, ledger).1, Some(Amount(1_000)));
        account.refused(Amount(1_000), NOTHING, ledger);
        account.not_granted(ledger);

        assert_eq!(take(&account, 1, ledger), (Got::Taken, None));
    });
}

#[test]
fn where_the_table_has_no_room_nothing_is_kept_and_nobody_shares() {
    let process = Process { sets: 1, ..Process::new() };
    let (ada, bob) = (account(&tokens(), "ada"), account(&tokens(), "bob"));
    process.at(0, |ledger| {
        for user in 0..WAYS {
            account(&tokens(), &format!("before {user}")).granted(Amount(9), NOTHING, ledger);
        }
        let before = (process.lines.bytes(), process.lines.writes());

        assert_eq!(ada.learn(told(50_000, 40_000), &POLICY, ledger), None);
        ada.granted(Amount(1_000), told(50_000, 40_000), ledger);
        ada.refused(Amount(1), NOTHING, ledger);
        ada.not_granted(ledger);
        ada.put_back(Amount(1), START, ledger);

        for account in [&ada, &bob] {
            assert_eq!(take(account, 1, ledger), (Got::Short, None));
            assert!(account.standing(ledger).is_none());
        }
        assert_eq!((process.lines.bytes(), process.lines.writes()), before);
        assert_eq!(ledger.take_tally(), Tally::default());
    });
}

#[test]
fn a_lease_that_takes_the_place_of_a_hardly_used_entry_is_kept() {
    let process = Process { sets: 1, ..Process::new() };
    let ada = account(&tokens(), "ada");
    process.at(0, |ledger| {
        for user in 0..WAYS {
            let key = account(&tokens(), &format!("before {user}")).key;
            let entry = crate::store::Entry { payload: payload_of([]), idle_at: START + WINDOW, fill: 0 };
            ledger.table.update(&key, ledger.now, |_| ((), Change::Put(entry))).unwrap();
        }

        assert_eq!(ada.learn(told(50_000, 40_000), &POLICY, ledger), Some(Amount(1_000)));

        assert!(ada.standing(ledger).is_some());
        assert_eq!(ledger.take_tally(), Tally { evictions: 1, ..Tally::default() });
    });
}

#[test]
fn a_lease_is_not_evicted_before_its_window_ends() {
    let process = Process { sets: 1, ..Process::new() };
    let ada = account(&tokens(), "ada");
    let flood = |ledger: &Ledger<'_>| {
        for user in 0..50 {
            account(&tokens(), &format!("flood {user}")).granted(Amount(9), NOTHING, ledger);
        }
    };
    process.at(0, |ledger| {
        ada.granted(Amount(1_000), told(50_000, 40_000), ledger);
        flood(ledger);
        assert_eq!(left(&ada, ledger), 1_000);
    });
    process.at(40_000, |ledger| {
        flood(ledger);
        assert!(!ada.is_stored(ledger));
    });
}

#[test]
fn a_store_that_fails_holds_nothing_and_gives_nothing_out() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |ledger| {
        let (less, more) = (ticket(&account, 100, ledger), ticket(&account, 100, ledger));
        process.lines.fail(true);

        assert_eq!(take(&account, 1, ledger), (Got::Short, None));
        assert_eq!(account.learn(told(50_000, 40_000), &POLICY, ledger), None);
        account.granted(Amount(1), NOTHING, ledger);
        account.refused(Amount(1), NOTHING, ledger);
        assert!(account.standing(ledger).is_none());
        assert_eq!(less.correct_to(Amount(50), ledger), Amount::ZERO);
        assert_eq!(more.correct_to(Amount(150), ledger), Amount(50));

        process.lines.fail(false);
        assert_eq!(left(&account, ledger), 800);
    });
}

#[test]
fn when_others_always_come_first_nothing_is_taken() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |ledger| {
        process.lines.lose_next(crate::store::MAX_TRIES);

        assert_eq!(take(&account, 600, ledger), (Got::Short, None));

        assert_eq!(ledger.take_tally().retries, u64::from(crate::store::MAX_TRIES));
        assert_eq!(left(&account, ledger), 1_000);
        assert_eq!(take(&account, 600, ledger), (Got::Taken, Some(Amount(1_000))));
    });
}

#[test]
fn a_clock_set_back_does_not_keep_a_lease_beyond_its_window() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    let back = Timestamp(START.0 - Span::from_secs(3_600).0);

    process.when(back, |ledger| {
        assert_eq!(take(&account, 1, ledger), (Got::Short, None));
        assert_eq!(account.learn(told(9_000, 30_000), &POLICY, ledger), Some(Amount(1_000)));
        assert_eq!(account.standing(ledger).unwrap().reset, Span::from_secs(30));
    });
}

#[test]
fn a_worker_whose_clock_was_read_a_moment_earlier_sees_the_same_lease() {
    let account = account(&tokens(), "ada");
    let process = Process::new();
    process.at(5, |ledger| account.granted(Amount(1_000), NOTHING, ledger));

    process.at(0, |ledger| assert_eq!(take(&account, 600, ledger).0, Got::Taken));
}

#[test]
fn taking_nothing_from_what_is_known_writes_nothing() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    let writes = process.lines.writes();
    process.at(1_000, |ledger| {
        assert_eq!(take(&account, 0, ledger).0, Got::Taken);
        assert_eq!(take(&account, 5_000, ledger).0, Got::Short);
        account.not_granted(ledger);
    });

    assert_eq!(process.lines.writes(), writes);
}

use super::*;

const DECLARED: Asked<'_> = Asked { declared: 600, ..PLAIN };

#[test]
fn all_that_is_declared_is_held_at_once_and_later_calls_draw_from_it() {
    let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
    at(0, &lines, |budgets| {
        let first = ask(&[&tpm], DECLARED, budgets).unwrap();
        assert_eq!((spent(&tpm, budgets), left_in_pool(&tpm, budgets)), (600, Some(500)));
        assert_eq!(first.standings[0].available, Amount(400));
        let second = ask(&[&tpm], PLAIN, budgets).unwrap();
        assert_eq!((spent(&tpm, budgets), left_in_pool(&tpm, budgets)), (600, Some(400)));
        settle(first.reservation, 30, budgets);
        settle(second.reservation, 40, budgets);
        assert_eq!((spent(&tpm, budgets), left_in_pool(&tpm, budgets)), (600, Some(530)));
    });
}

#[test]
fn a_workflow_with_enough_in_its_pool_is_not_refused_when_the_budget_is_spent() {
    let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
    at(0, &lines, |budgets| {
        settle(ask(&[&tpm], DECLARED, budgets).unwrap().reservation, 100, budgets);
        let other = Asked { workflow: "other", tokens: 400, ..PLAIN };
        settle(ask(&[&tpm], other, budgets).unwrap().reservation, 400, budgets);
        assert!(ask(&[&tpm], Asked { tokens: 1, ..other }, budgets).is_err());
        let all = Asked { tokens: 500, ..PLAIN };
        settle(ask(&[&tpm], all, budgets).unwrap().reservation, 500, budgets);
        assert_eq!((spent(&tpm, budgets), left_in_pool(&tpm, budgets)), (1_000, Some(0)));
        let beyond = ask(&[&tpm], PLAIN, budgets).unwrap_err();
        assert_eq!((beyond.needed, left_in_pool(&tpm, budgets)), (Amount(100), Some(0)));
    });
}

#[test]
fn what_the_pool_has_not_is_charged_to_the_budget_and_goes_back_there_first() {
    let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
    at(0, &lines, |budgets| {
        settle(ask(&[&tpm], DECLARED, budgets).unwrap().reservation, 550, budgets);
        let second = ask(&[&tpm], PLAIN, budgets).unwrap();
        assert_eq!((spent(&tpm, budgets), left_in_pool(&tpm, budgets)), (650, Some(0)));
        settle(second.reservation, 20, budgets);
        assert_eq!((spent(&tpm, budgets), left_in_pool(&tpm, budgets)), (600, Some(30)));
    });
}

#[test]
fn what_is_used_beyond_what_was_held_comes_from_the_pool_first() {
    let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
    at(0, &lines, |budgets| {
        let first = ask(&[&tpm], DECLARED, budgets).unwrap();
        settle(first.reservation, 350, budgets);
        assert_eq!((spent(&tpm, budgets), left_in_pool(&tpm, budgets)), (600, Some(250)));
        settle(ask(&[&tpm], PLAIN, budgets).unwrap().reservation, 400, budgets);
        assert_eq!((spent(&tpm, budgets), left_in_pool(&tpm, budgets)), (750, Some(0)));
    });
}

#[test]
fn what_does_not_fit_is_refused_for_the_whole_amount() {
    let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
    at(0, &lines, |budgets| {
        let other = Asked { workflow: "other", tokens: 500, ..PLAIN };
        settle(ask(&[&tpm], other, budgets).unwrap().reservation, 500, budgets);
        let refusal = ask(&[&tpm], DECLARED, budgets).unwrap_err();
        // 100 of 600 are missing, at 1,000 a minute.
        assert_eq!((refusal.needed, refusal.wait), (Amount(600), Wait::For(Span::from_secs(6))));
        assert_eq!((spent(&tpm, budgets), left_in_pool(&tpm, budgets)), (500, None));
    });
}

#[test]
fn no_more_is_held_than_a_limit_has_and_only_where_tokens_are_counted() {
    let lines = MemoryLines::default();
    let limits = [tokens(400), Rc::new(Limit::example("in", "input_tokens", 1_000))];
    at(0, &lines, |budgets| {
        let _held = ask(&[&limits[0], &limits[1]], DECLARED, budgets).unwrap();
        assert_eq!((spent(&limits[0], budgets), left_in_pool(&limits[0], budgets)), (400, Some(300)));
        assert_eq!((spent(&limits[1], budgets), left_in_pool(&limits[1], budgets)), (100, None));
    });
}

#[test]
fn a_first_call_that_needs_more_than_is_declared_charges_the_rest_and_gets_that_back() {
    let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
    at(0, &lines, |budgets| {
        let first = ask(&[&tpm], Asked { tokens: 900, ..DECLARED }, budgets).unwrap();
        assert_eq!((spent(&tpm, budgets), left_in_pool(&tpm, budgets)), (900, Some(0)));
        settle(first.reservation, 100, budgets);
        assert_eq!((spent(&tpm, budgets), left_in_pool(&tpm, budgets)), (600, Some(500)));
    });
}

#[test]
fn declaring_again_changes_nothing_while_the_pool_lives() {
    let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
    at(0, &lines, |budgets| {
        for left in [500, 400, 300] {
            let _held = ask(&[&tpm], DECLARED, budgets).unwrap();
            assert_eq!((spent(&tpm, budgets), left_in_pool(&tpm, budgets)), (600, Some(left)));
        }
    });
}

#[test]
fn a_call_that_another_limit_refuses_takes_its_pool_with_it() {
    let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
    let requests = Rc::new(Limit::example("rpm", "requests", 1));
    at(0, &lines, |budgets| {
        settle(ask(&[&requests], PLAIN, budgets).unwrap().reservation, 0, budgets);
        assert!(ask(&[&tpm, &requests], DECLARED, budgets).is_err());
        assert_eq!((spent(&tpm, budgets), left_in_pool(&tpm, budgets)), (0, None));
    });
}

#[test]
fn calls_that_have_drawn_from_a_pool_that_is_gone_give_back_to_the_budget() {
    let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
    at(0, &lines, |budgets| {
        let first = ask(&[&tpm], DECLARED, budgets).unwrap();
        let [second, third] = [(); 2].map(|()| ask(&[&tpm], PLAIN, budgets).unwrap());
        first.reservation.release(budgets);
        assert_eq!((spent(&tpm, budgets), left_in_pool(&tpm, budgets)), (200, None));
        settle(second.reservation, 30, budgets);
        assert_eq!(spent(&tpm, budgets), 130);
        third.reservation.release(budgets);
        assert_eq!(spent(&tpm, budgets), 30);
    });
}

#[test]
fn the_refusal_that_is_reported_is_true_for_pools_too() {
    let lines = MemoryLines::default();
    let (day, minute) = (for_a_month(&Limit::example("day", "tokens", 1_000)), tokens(1_000));
    let input = Rc::new(Limit::example("in", "input_tokens", 100));
    at(0, &lines, |budgets| {
        settle(ask(&[&day], Asked { declared: 1_000, ..PLAIN }, budgets).unwrap().reservation, 0, budgets);
        settle(ask(&[&input], PLAIN, budgets).unwrap().reservation, 100, budgets);
        // The budget of `day` is spent, but all by this workflow.
        let refusal = ask(&[&input, &minute, &day], PLAIN, budgets).unwrap_err();
        assert_eq!(&*refusal.standing.limit.name, "in");
    });
}

#[test]
fn a_pool_lives_for_a_window_by_when_what_was_left_has_flowed_back() {
    let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
    at(0, &lines, |budgets| {
        settle(ask(&[&tpm], Asked { declared: 1_000, ..PLAIN }, budgets).unwrap().reservation, 0, budgets);
    });
    at(59, &lines, |budgets| assert_eq!(left_in_pool(&tpm, budgets), Some(1_000)));
    at(60, &lines, |budgets| {
        assert_eq!((spent(&tpm, budgets), left_in_pool(&tpm, budgets)), (0, None));
        let _held = ask(&[&tpm], PLAIN, budgets).unwrap();
        assert_eq!(spent(&tpm, budgets), 100);
    });
}

#[test]
fn a_pool_of_a_calendar_window_ends_with_it() {
    let lines = MemoryLines::default();
    let tpm = tokens(1_000);
    let shape = Shape { algorithm: Algorithm::FixedWindow, ..tpm.shape };
    let tpm = Rc::new(Limit { shape, ..(*tpm).clone() });
    // A million seconds are 40 seconds past a full minute.
    at(0, &lines, |budgets| {
        settle(ask(&[&tpm], DECLARED, budgets).unwrap().reservation, 0, budgets);
    });
    at(19, &lines, |budgets| assert_eq!(left_in_pool(&tpm, budgets), Some(600)));
    at(20, &lines, |budgets| assert_eq!((spent(&tpm, budgets), left_in_pool(&tpm, budgets)), (0, None)));
}

#[test]
fn calls_wait_for_a_pool_that_is_filled_by_a_debt() {
    let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
    let patience = Span::from_secs(60);
    at(0, &lines, |budgets| {
        let other = Asked { workflow: "other", tokens: 1_000, ..PLAIN };
        settle(ask(&[&tpm], other, budgets).unwrap().reservation, 1_000, budgets);
        let first = ask(&[&tpm], Asked { patience, ..DECLARED }, budgets).unwrap();
        assert_eq!(first.waits_for.unwrap().wait, Wait::For(Span::from_secs(36)));
    });
    at(6, &lines, |budgets| {
        let second = ask(&[&tpm], Asked { patience, ..PLAIN }, budgets).unwrap();
        assert_eq!(second.waits_for.unwrap().wait, Wait::For(Span::from_secs(30)));
        assert!(ask(&[&tpm], PLAIN, budgets).is_err());
        assert_eq!(left_in_pool(&tpm, budgets), Some(400), "the refused call has put back what it drew");
    });
}

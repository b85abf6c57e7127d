use super::*;
use crate::host::script::Script;
use crate::metrics;

fn bench() -> (Rc<Script>, Counts) {
    let host = Rc::new(Script::default());
    (host.clone(), Counts::new(host))
}

fn labels(model: &Rc<str>, kind: &'static str) -> Labels {
    Labels { model: Some(model.clone()), kind, ..Labels::default() }
}

fn call(labels: &Labels) -> Count {
    Count { metric: &metrics::CALLS, labels: labels.clone(), by: 1 }
}

#[test]
fn counts_add_up_and_reach_the_host_once_when_they_are_written() {
    let (host, mut counts) = bench();
    let labels = labels(&"gpt-4o".into(), "ok");
    for _ in 0..3 {
        counts.add(&call(&labels));
    }
    assert_eq!(counts.due(), Some(WRITE_EVERY));
    assert_eq!(host.writes.take(), []);
    counts.write();
    assert_eq!(counts.due(), None);
    counts.write();
    assert_eq!(
        host.writes.take(),
        [("tier=.=;.;model=.=gpt-4o;.;kind=.=ok;.;tollgate_calls_total".into(), 3)]
    );
    counts.add(&call(&labels));
    counts.write();
    assert_eq!(host.writes.take().len(), 1);
    assert_eq!(host.metrics.borrow().len(), 1, "a series is defined once");
}

#[test]
fn a_gauge_is_written_at_once_even_if_it_is_zero() {
    let (host, mut counts) = bench();
    for by in [7, 0] {
        counts.add(&Count { metric: &metrics::INPUT_SCALE, labels: Labels::default(), by });
    }
    let name = "model=.=;.;tollgate_input_scale_percent";
    assert_eq!(host.writes.take(), [(name.into(), 7), (name.into(), 0)]);
    assert_eq!(counts.due(), None);
}

#[test]
fn equal_labels_are_one_series_wherever_their_texts_are() {
    let (host, mut counts) = bench();
    for _ in 0..3 {
        counts.add(&call(&labels(&"gpt-4o".into(), "ok")));
    }
    counts.write();
    assert_eq!((host.writes.take().len(), host.metrics.borrow().len()), (1, 1));
}

#[test]
fn a_label_at_the_address_of_a_dropped_one_is_not_taken_for_it() {
    let (host, mut counts) = bench();
    let names: Vec<_> = (0..1_000).map(|number| format!("model-{number:03}")).collect();
    for name in &names {
        // The label is dropped at once, so an allocator would give the next one its address.
        counts.add(&call(&labels(&name.as_str().into(), "ok")));
    }
    counts.write();
    let writes = host.writes.take();
    assert_eq!(writes.len(), names.len());
    assert!(writes.iter().all(|(_, by)| *by == 1));
}

#[test]
fn nothing_is_mixed_up_or_lost_when_there_are_more_series_than_are_known_by_address() {
    let (host, mut counts) = bench();
    let models: Vec<Rc<str>> = (0..1_000).map(|number| format!("model-{number}").into()).collect();
    let all: Vec<_> = ["ok", "error", "refused"]
        .into_iter()
        .flat_map(|kind| models.iter().map(move |model| labels(model, kind)))
        .collect();
    for round in 1..=3 {
        for labels in &all {
            counts.add(&Count { by: round, ..call(labels) });
        }
    }
    counts.write();
    let writes = host.writes.take();
    assert_eq!(writes.len(), all.len());
    for (labels, (name, by)) in all.iter().zip(&writes) {
        let mut expected = String::new();
        call(labels).write_name(&mut expected);
        assert_eq!((name, *by), (&expected, 1 + 2 + 3));
    }
}

#[test]
fn the_number_of_series_has_a_bound_and_those_within_it_go_on() {
    let (host, mut counts) = bench();
    let first = labels(&"model-0".into(), "ok");
    for number in 0..MOST_SERIES + 100 {
        counts.add(&call(&labels(&format!("model-{number}").into(), "ok")));
    }
    counts.add(&call(&first));
    counts.write();
    let writes = host.writes.take();
    assert_eq!((writes.len(), host.metrics.borrow().len()), (MOST_SERIES, MOST_SERIES));
    assert_eq!(writes[0].1, 2);
}

#[test]
fn a_metric_that_the_host_refuses_is_lost_and_asked_for_again() {
    let (host, mut counts) = bench();
    let labels = labels(&"gpt-4o".into(), "ok");
    host.has_no_metrics.set(true);
    counts.add(&call(&labels));
    assert_eq!(counts.due(), None);
    host.has_no_metrics.set(false);
    counts.add(&call(&labels));
    counts.write();
    assert_eq!(host.writes.take().len(), 1);
}

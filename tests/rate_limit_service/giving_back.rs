//! `is_negative_hits`: refunds of unused hits.

use crate::service::{OK, OVER_LIMIT, back, codes, descriptor, hits, limit, on_both, request};

#[tokio::test]
async fn what_is_given_back_can_be_used_again() {
    on_both(&limit("tpm", 100, 60), async |service| {
        let ann = descriptor("tpm", "ann");
        service.ask([hits(100, ann.clone())]).await;
        let answer = service.ask([back(hits(30, ann.clone()))]).await;
        assert_eq!((codes(&answer), answer.statuses[0].limit_remaining), (vec![OK], 30));
        assert_eq!(service.ask([hits(30, ann)]).await.overall_code, OK);
    })
    .await;
}

#[tokio::test]
async fn never_more_is_given_back_than_was_used() {
    on_both(&limit("tpm", 100, 60), async |service| {
        let ann = descriptor("tpm", "ann");
        service.ask([back(hits(50, ann.clone()))]).await;
        assert_eq!(service.left(ann.clone()).await, 100);
        service.ask([hits(10, ann.clone())]).await;
        service.ask([back(hits(u64::MAX, ann.clone()))]).await;
        assert_eq!(service.left(ann.clone()).await, 100);
        assert_eq!(service.ask([hits(101, ann)]).await.overall_code, OVER_LIMIT);
    })
    .await;
}

#[tokio::test]
async fn hits_of_the_call_are_given_back_too() {
    on_both(&limit("tpm", 100, 60), async |service| {
        let ann = descriptor("tpm", "ann");
        service.ask([hits(50, ann.clone())]).await;
        service.should_rate_limit(request(20, [back(ann.clone())])).await.unwrap();
        assert_eq!(service.left(ann).await, 70);
    })
    .await;
}

#[tokio::test]
async fn it_is_given_back_also_if_the_rest_of_the_call_does_not_fit() {
    on_both(&(limit("tpm", 100, 60) + &limit("rpm", 2, 60)), async |service| {
        let [tokens, requests] = [descriptor("tpm", "ann"), descriptor("rpm", "ann")];
        service.ask([hits(80, tokens.clone())]).await;
        let answer = service.ask([back(hits(30, tokens.clone())), hits(3, requests.clone())]).await;
        assert_eq!(codes(&answer), [OK, OVER_LIMIT]);
        assert_eq!([service.left(tokens).await, service.left(requests).await], [50, 2]);
    })
    .await;
}

#[tokio::test]
async fn giving_back_does_not_lengthen_the_window() {
    on_both(&limit("tps", 10, 1), async |service| {
        let ann = descriptor("tps", "ann");
        service.ask([hits(10, ann.clone())]).await;
        // Full again although refunds continue and one charge remains.
        let whole_again = async {
            service.ask([back(hits(5, ann.clone()))]).await;
            while service.left(ann.clone()).await != 10 {
                service.ask([back(hits(0, ann.clone()))]).await;
            }
        };
        tokio::time::timeout(tollgate_rig::client::PATIENCE, whole_again).await.unwrap();
    })
    .await;
}

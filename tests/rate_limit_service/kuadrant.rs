//! `CheckRateLimit` and `Report`.

use tonic::Code;

use crate::service::{OK, OVER_LIMIT, back, codes, descriptor, hits, limit, on_both, request};

#[tokio::test]
async fn a_check_says_whether_one_more_would_fit_and_changes_nothing() {
    on_both(&limit("tpm", 2, 60), async |service| {
        let ann = descriptor("tpm", "ann");
        for _ in 0..3 {
            let answer = service.kuadrant("CheckRateLimit", request(100, [ann.clone()])).await.unwrap();
            assert_eq!((answer.overall_code, answer.statuses[0].limit_remaining), (OK, 2));
        }
        service.ask([hits(2, ann.clone())]).await;
        let answer = service.kuadrant("CheckRateLimit", request(0, [ann])).await.unwrap();
        assert_eq!((answer.overall_code, codes(&answer)), (OVER_LIMIT, vec![OVER_LIMIT]));
    })
    .await;
}

#[tokio::test]
async fn a_report_is_always_charged_and_always_fine() {
    on_both(&limit("tpm", 100, 60), async |service| {
        let ann = descriptor("tpm", "ann");
        for (reported, left) in [(0, 99), (50, 49), (90, 0)] {
            let answer = service.kuadrant("Report", request(reported, [ann.clone()])).await.unwrap();
            assert_eq!(answer.overall_code, OK);
            assert_eq!(service.left(ann.clone()).await, left);
        }
        // 141 are used, so a refund of 41 leaves no room for another hit.
        service.ask([back(hits(41, ann.clone()))]).await;
        assert_eq!(service.ask([hits(1, ann.clone())]).await.overall_code, OVER_LIMIT);
        service.ask([back(hits(1, ann.clone()))]).await;
        assert_eq!(service.ask([hits(1, ann)]).await.overall_code, OK);
    })
    .await;
}

#[tokio::test]
async fn hits_of_a_descriptor_are_refused_and_nothing_is_charged() {
    on_both(&limit("tpm", 100, 60), async |service| {
        let ann = descriptor("tpm", "ann");
        for wrong in [hits(5, ann.clone()), back(ann.clone())] {
            for method in ["CheckRateLimit", "Report"] {
                let refused = service.kuadrant(method, request(1, [wrong.clone()])).await.unwrap_err();
                assert_eq!(refused.code(), Code::InvalidArgument, "{method}");
            }
        }
        assert_eq!(service.left(ann).await, 100);
    })
    .await;
}

#[tokio::test]
async fn a_method_that_there_is_not_is_not_implemented() {
    on_both(&limit("tpm", 100, 60), async |service| {
        let unknown = service.kuadrant("Reserve", request(1, [descriptor("tpm", "ann")])).await;
        assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
    })
    .await;
}

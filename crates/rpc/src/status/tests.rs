//! Every reason there and back, and every detail of the table.

use super::*;

fn there_and_back(failure: &Failure) -> Failure {
    let headers = status_of(failure).into_http::<()>().into_parts().0.headers;
    failure_of(&Status::from_header_map(&headers).expect("a status"))
}

#[test]
fn every_reason_survives_the_wire() {
    for reason in Reason::ALL {
        let failure = Failure::new(*reason);
        let back = there_and_back(&failure);
        let fixed = matches!(reason.kind(), Kind::Bug | Kind::Corrupt);
        assert_eq!(back.kind(), failure.kind(), "{reason:?}");
        if !fixed {
            assert_eq!(back.reason, *reason);
        }
        let waits = matches!(
            reason.kind(),
            Kind::Conflict | Kind::Limited | Kind::Unavailable
        );
        assert_eq!(back.retry_after.is_some(), waits, "{reason:?}");
    }
}

#[test]
fn invalid_names_every_violation() {
    let failure = Failure::new(Reason::INVALID_REQUEST)
        .violation("home_id", "is missing")
        .violation("areas[2].name", "has more than 64 characters");
    let status = status_of(&failure);
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    let info = details.error_info().expect("error info");
    assert_eq!(
        (info.reason.as_str(), info.domain.as_str()),
        ("INVALID_REQUEST", "hearth")
    );
    assert_eq!(
        details
            .bad_request()
            .expect("bad request")
            .field_violations
            .len(),
        2
    );
    assert_eq!(there_and_back(&failure), failure);
}

#[test]
fn rejected_limited_and_absent_carry_their_details() {
    let rejected = status_of(&Failure::new(Reason::REQUEST_ID_REUSED)).get_error_details();
    let precondition = rejected.precondition_failure().expect("precondition");
    assert_eq!(precondition.violations[0].r#type, "REQUEST_ID_REUSED");

    let limited = Failure::new(Reason::TOO_MANY_REQUESTS).retry_after(Duration::from_secs(7));
    let limited = status_of(&limited).get_error_details();
    assert_eq!(limited.quota_failure().expect("quota").violations.len(), 1);
    assert_eq!(
        limited.retry_info().expect("retry").retry_delay,
        Some(Duration::from_secs(7))
    );

    let absent = Failure::new(Reason::NOT_FOUND).about("home", "abab");
    let details = status_of(&absent).get_error_details();
    assert_eq!(
        details.resource_info().expect("resource").resource_name,
        "abab"
    );
    assert_eq!(there_and_back(&absent), absent);
}

#[test]
fn defects_say_nothing_but_the_request_id() {
    let failure = Failure::new(Reason::INTERNAL)
        .violation("secret", "inside")
        .about("home", "x");
    let status = request_id::scope(Some("abc".to_owned()), || status_of(&failure));
    assert_eq!(status.code(), Code::Internal);
    let details = status.get_error_details();
    assert_eq!(
        details.request_info().expect("request info").request_id,
        "abc"
    );
    assert!(details.error_info().is_none() && details.resource_info().is_none());
    assert!(details.bad_request().is_none());
    assert_eq!(status.message(), Reason::INTERNAL.message());
}

#[test]
fn many_and_long_violations_stay_under_4_kib() {
    let mut many = Failure::new(Reason::INVALID_REQUEST);
    for index in 0..1000 {
        many = many.violation(format!("a[{index}]"), "bad");
    }
    let back = there_and_back(&many);
    assert_eq!(back.violations.len(), MOST_VIOLATIONS + 1);
    assert_eq!(
        back.violations[MOST_VIOLATIONS].description,
        "968 more violations are left off"
    );

    let mut long = Failure::new(Reason::INVALID_REQUEST).about("home", "x".repeat(10_000));
    for _ in 0..100 {
        long = long.violation("ä".repeat(3000), "b".repeat(500));
    }
    let mut short = Failure::new(Reason::REQUEST_ID_REUSED);
    for _ in 0..MOST_VIOLATIONS {
        short = short.violation("f".repeat(32), "d".repeat(32));
    }
    for failure in [many, long, short] {
        let headers = status_of(&failure).into_http::<()>().into_parts().0.headers;
        let details = headers.get("grpc-status-details-bin").expect("details");
        assert!(details.len() < 4096, "{} bytes", details.len());
    }
}

#[test]
fn what_the_transport_says_is_read_as_the_callers_fault() {
    let kind = |status: Status| inbound(&status).reason;
    assert_eq!(
        kind(Status::internal("failed to decode")),
        Reason::INVALID_REQUEST
    );
    assert_eq!(kind(Status::out_of_range("x")), Reason::MESSAGE_TOO_LARGE);
    assert_eq!(
        kind(Status::cancelled("x")),
        Reason::TEMPORARILY_UNAVAILABLE
    );
    let ours = status_of(&Failure::new(Reason::TOO_MANY_REQUESTS));
    assert_eq!(inbound(&ours).reason, Reason::TOO_MANY_REQUESTS);
}

#[test]
fn a_foreign_domain_is_told_by_its_code() {
    let mut details = ErrorDetails::new();
    details.set_error_info("NOT_FOUND", "elsewhere", HashMap::new());
    let status = Status::with_error_details(Code::Unavailable, "x", details);
    assert!(!is_ours(&status));
    assert_eq!(failure_of(&status).reason, Reason::TEMPORARILY_UNAVAILABLE);
}

//! The admin routes over a real socket, and who is turned away.

use hearth_ports::{Position, Table};

use super::*;
use crate::admin::{Admin, AdminBound};

const SUBJECT: &str = "EVT_ACCOUNTS/account.00000000000000000000000000000001";

async fn parked() -> (Arc<dyn Documents>, Admin, String) {
    let documents = hearth_backend_memory::MemoryDocuments::default();
    let documents: Arc<dyn Documents> = Arc::new(documents);
    let at = Position {
        generation: 1,
        sequence: 7,
    };
    // As an older version parked it: the position alone.
    let row = documents.put(
        Table("engine_parked"),
        b"accounts.process",
        SUBJECT.as_bytes(),
        at.stamp(),
        at.to_bytes().to_vec().into(),
    );
    row.await.expect("put");
    let admin = AdminBound::new("127.0.0.1:0").expect("a port").expect("on");
    let listen = admin.address().expect("an address").to_string();
    let admin = admin.serve(routes(Arc::clone(&documents))).expect("served");
    (documents, admin, listen)
}

fn release(subject: &str) -> String {
    let release = Release {
        consumer: "accounts.process".to_owned(),
        subject: subject.to_owned(),
    };
    serde_json::to_string(&release).expect("JSON")
}

async fn list(listen: &str) -> List {
    let answer = ask(listen, "/parked", None).await.expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).expect("a list")
}

#[tokio::test]
async fn what_is_parked_is_listed_and_its_release_asked_for() {
    let (_documents, _admin, listen) = parked().await;
    let expected = Parked {
        consumer: "accounts.process".to_owned(),
        subject: SUBJECT.to_owned(),
        position: "1:7".to_owned(),
        reason: "other".to_owned(),
        since_micros: None,
        asked: false,
        releasable: true,
    };
    assert_eq!(list(&listen).await.parked, [expected]);
    let answer = ask(
        &listen,
        "/parked/release",
        Some(&release("EVT_ACCOUNTS/other.1")),
    )
    .await;
    assert_eq!(answer.expect("an answer").status, 404);
    let answer = ask(&listen, "/parked/release", Some("{}")).await;
    assert_eq!(answer.expect("an answer").status, 400);
    let answer = ask(&listen, "/parked/release", Some(&"x".repeat(LONGEST.0 + 1))).await;
    assert_eq!(answer.expect("an answer").status, 413);
    assert!(!list(&listen).await.parked[0].asked);
    let answer = ask(&listen, "/parked/release", Some(&release(SUBJECT))).await;
    assert_eq!(answer.expect("an answer").status, 202);
    assert!(list(&listen).await.parked[0].asked);
}

#[tokio::test]
async fn a_page_in_a_browser_changes_and_reads_nothing() {
    let (_documents, _admin, listen) = parked().await;
    let body = release(SUBJECT);
    let requests = [
        // A form of another site: the right host, no header.
        format!(
            "POST /parked/release HTTP/1.0\r\nhost: {listen}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
        // A name that was rebound to this machine.
        "GET /parked HTTP/1.0\r\nhost: evil.example\r\n\r\n".to_owned(),
        "GET /parked HTTP/1.0\r\n\r\n".to_owned(),
        format!("GET /parked HTTP/1.0\r\nhost: localhost.{listen}\r\n\r\n"),
    ];
    for request in requests {
        let mut stream = tokio::net::TcpStream::connect(&listen)
            .await
            .expect("connected");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("text");
        assert_eq!(parse(&answer).expect("an answer").status, 403, "{request}");
    }
    assert!(!list(&listen).await.parked[0].asked);
}

#[tokio::test]
async fn nobody_there_is_said_in_one_line() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let listen = free.local_addr().expect("an address").to_string();
    drop(free);
    let error = ask(&listen, "/parked", None).await.expect_err("nobody");
    assert_eq!(error.number(), 64);
    assert!(ask("unix:/nowhere/x", "/parked", None).await.is_err());
}

#[test]
fn answers_are_read_strictly() {
    let answer = parse("HTTP/1.1 202 Accepted\r\na: b\r\n\r\nx").expect("an answer");
    assert_eq!((answer.status, &answer.body[..]), (202, "x"));
    for not in [
        "",
        "HTTP/1.1 2",
        "SSH-2.0\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.\u{e9}\u{e9}\u{e9}\r\n\r\n",
    ] {
        assert_eq!(parse(not), None, "{not:?}");
    }
}

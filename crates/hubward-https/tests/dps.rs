//! The DPS client over HTTPS, against servers that answer with literal bytes, valid and invalid.

mod server;

use std::time::Duration;

use hubward_proto::Csr;
use hubward_proto::dps::{AssignmentStatus, Registration, RegistrationEnd, RetryPolicy, Step};
use hubward_transport::{
    DpsBody, DpsReply, DpsTransport, IdScope, OperationId, ProtoError, Refusal, RefusedBy, Register, RegistrationId,
    SasToken, Stage, TlsFault, TransportError,
};
use server::{Answer, GOOD, HOST, Server, Shown, certificate, client};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

const ENDPOINT: &str = "global.azure-devices-provisioning.net:443";
const TOKEN: &str = "SharedAccessSignature sr=0ne00000000%2Fregistrations%2Fdevice1\
                     &sig=cGxlYXNlIGRvIG5vdCBzaG93IG1lIHRvIGFueWJvZHk%3D&se=1700003600&skn=registration";
const ASSIGNING: &str =
    r#"{"operationId":"4.d0a671905ea5b2c8.42d78160-4c78-479e-8be7-61d5e55dac0d","status":"assigning"}"#;
const ASSIGNED: &str = concat!(
    r#"{"operationId":"4.d0a671905ea5b2c8.42d78160-4c78-479e-8be7-61d5e55dac0d","status":"assigned","#,
    r#""registrationState":{"registrationId":"device1","createdDateTimeUtc":"2024-01-02T03:04:05.1234567Z","#,
    r#""assignedHub":"contoso.azure-devices.net","deviceId":"device1","status":"assigned","#,
    r#""substatus":"initialAssignment","lastUpdatedDateTimeUtc":"2024-01-02T03:04:05.9876543Z","etag":"IjYx"}}"#
);
const UNAUTHORIZED: &str = concat!(
    r#"{"errorCode":401002,"trackingId":"8ad0463c-6427-4479-9dfa-3e8bb7003e9b","message":"Unauthorized","#,
    r#""timestampUtc":"2020-04-10T05:24:22.4718526Z"}"#
);

fn register() -> Register {
    Register::new(IdScope::new("0ne00000000").expect("scope"), RegistrationId::new("device1").expect("id"))
        .client_version("acme-pump/2.1")
}

fn operation() -> OperationId {
    OperationId::new("4.d0a671905ea5b2c8.42d78160-4c78-479e-8be7-61d5e55dac0d").expect("an id")
}

fn token() -> SasToken {
    SasToken::parse(TOKEN).expect("a token")
}

/// Registers with a server that sends this answer and closes.
async fn answered(answer: Answer) -> Result<DpsReply, TransportError> {
    let mut server = Server::start(vec![vec![answer]]).await;
    server.dps.register(&register(), Some(&token())).await
}

async fn refusal(answer: Answer) -> Refusal {
    match answered(answer.clone()).await {
        Err(TransportError::Refused(refusal)) => *refusal,
        other => panic!("{answer:?}: {other:?}"),
    }
}

fn status_of(reply: DpsReply) -> AssignmentStatus {
    match reply.body {
        DpsBody::Operation(operation) => operation.status,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn requests_match_the_documentation_and_share_one_connection() {
    let mut server = Server::start(vec![vec![
        Answer::new("202 Accepted", "Retry-After: 3\r\n", ASSIGNING),
        Answer::new("200 OK", "", ASSIGNED),
        Answer::new("202 Accepted", "", ASSIGNING),
    ]])
    .await;
    let reply = server.dps.register(&register(), Some(&token())).await.expect("202");
    assert_eq!(reply.retry_after, Some(Duration::from_secs(3)));
    assert_eq!(status_of(reply), AssignmentStatus::Assigning);
    assert_eq!(
        server.requests.recv().await.expect("a request"),
        (
            0,
            format!(
                "PUT /0ne00000000/registrations/device1/register?api-version=2021-06-01 HTTP/1.1\r\n\
                 Content-Type: application/json; charset=utf-8\r\nAccept: application/json\r\n\
                 User-Agent: acme-pump/2.1\r\nAuthorization: {TOKEN}\r\nHost: {HOST}\r\nContent-Length: 28\r\n\r\n\
                 {{\"registrationId\":\"device1\"}}"
            )
        )
    );

    let reply = server.dps.operation_status(&register(), &operation(), Some(&token())).await.expect("200");
    assert_eq!(reply.retry_after, None);
    let DpsBody::Operation(operation) = reply.body else { panic!("an operation") };
    let state = operation.registration_state.expect("a state");
    assert_eq!(state.assigned_hub.as_deref(), Some("contoso.azure-devices.net"));
    assert_eq!(
        server.requests.recv().await.expect("a request"),
        (
            0,
            format!(
                "GET /0ne00000000/registrations/device1/operations/\
                 4.d0a671905ea5b2c8.42d78160-4c78-479e-8be7-61d5e55dac0d?api-version=2021-06-01 HTTP/1.1\r\n\
                 Content-Type: application/json; charset=utf-8\r\nAccept: application/json\r\n\
                 User-Agent: acme-pump/2.1\r\nAuthorization: {TOKEN}\r\nHost: {HOST}\r\n\r\n"
            )
        )
    );

    let with_payload = register().payload(serde_json::json!({"modelId": "dtmi:com:example:Pump;1"}));
    server.dps.register(&with_payload, None).await.expect("202");
    let (connection, request) = server.requests.recv().await.expect("a request");
    assert_eq!(connection, 0);
    assert!(!request.contains("Authorization"), "{request}");
    let expected = r#"{"registrationId":"device1","payload":{"modelId":"dtmi:com:example:Pump;1"}}"#;
    assert_eq!(request.split_once("\r\n\r\n").expect("a body").1, expected);
}

/// The requests carry the certificate request and the `api-version` of the preview, and the poll returns the chain.
#[tokio::test]
async fn a_certificate_request_uses_the_preview_version() {
    let chain = ASSIGNED.replace(r#""etag""#, r#""issuedCertificateChain":["MIIB","MIIC"],"etag""#);
    let mut server =
        Server::start(vec![vec![Answer::new("202 Accepted", "", ASSIGNING), Answer::new("200 OK", "", &chain)]]).await;
    let register = register().csr(Csr::new("AAAA").expect("base64"));
    server.dps.register(&register, None).await.expect("202");
    let request = server.request().await;
    let line = "PUT /0ne00000000/registrations/device1/register?api-version=2025-07-01-preview HTTP/1.1\r\n";
    assert!(request.starts_with(line), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"registrationId\":\"device1\",\"csr\":\"AAAA\"}"), "{request}");

    let reply = server.dps.operation_status(&register, &operation(), None).await.expect("200");
    let request = server.request().await;
    let line = request.lines().next().expect("a line");
    assert!(line.starts_with("GET ") && line.contains("?api-version=2025-07-01-preview "), "{request}");
    assert!(request.ends_with("\r\n\r\n"), "a poll has no body: {request}");
    let DpsBody::Operation(operation) = reply.body else { panic!("an operation") };
    let state = operation.registration_state.expect("a state");
    assert_eq!(state.issued_certificate_chain, Some(vec!["MIIB".to_owned(), "MIIC".to_owned()]));
}

#[tokio::test]
async fn another_connection_profile_ends_the_registration() {
    for (profile, expected) in [
        (String::new(), None),
        (r#""connectionProfile":null,"#.to_owned(), None),
        (r#""connectionProfile":"classic","#.to_owned(), None),
        (r#""connectionProfile":"mqttV5","#.to_owned(), Some("mqttV5")),
        (r#""connectionProfile":"new","#.to_owned(), Some("new")),
    ] {
        let body = ASSIGNED.replace(r#""etag""#, &format!(r#"{profile}"etag""#));
        let reply = answered(Answer::new("200 OK", "", &body)).await.expect("200");
        let now = tokio::time::Instant::now().into_std();
        let mut flow = Registration::new(RetryPolicy::default(), None);
        assert_eq!(flow.step(now), Step::Register);
        flow.on_reply(now, 0.5, Ok(&reply));
        let refused = match flow.step(now) {
            Step::End(RegistrationEnd::Assigned(_)) => None,
            Step::End(RegistrationEnd::Broken(ProtoError::ConnectionProfile(name))) => Some(name),
            other => panic!("{profile}: {other:?}"),
        };
        assert_eq!(refused.as_deref(), expected, "{profile}");
    }
}

#[tokio::test]
async fn an_answer_may_arrive_in_any_fragments() {
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        &ASSIGNED[..5],
        ASSIGNED.len() - 5,
        &ASSIGNED[5..]
    );
    let Answer::Whole(plain) = Answer::new("200 OK", "", ASSIGNED) else { panic!("bytes") };
    let until_closed = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{ASSIGNED}");
    for answer in [
        Answer::Whole(chunked.clone().into_bytes()),
        Answer::Dripped(chunked.into_bytes()),
        Answer::Dripped(plain),
        Answer::Whole(until_closed.into_bytes()),
        Answer::Whole(
            format!(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{ASSIGNED}",
                ASSIGNED.len()
            )
            .into_bytes(),
        ),
    ] {
        let reply = answered(answer.clone()).await.unwrap_or_else(|error| panic!("{answer:?}: {error:?}"));
        assert_eq!(status_of(reply), AssignmentStatus::Assigned);
    }
}

#[tokio::test]
async fn a_refusal_keeps_code_message_and_tracking_id() {
    let id = Some("8ad0463c-6427-4479-9dfa-3e8bb7003e9b");
    let throttled =
        r#"{"errorCode":429001,"trackingId":"t","message":"Operations are being throttled for this tenant."}"#;
    for (answer, status, code, message, tracking_id) in [
        (Answer::new("401 Unauthorized", "", UNAUTHORIZED), 401, Some(401_002), Some("Unauthorized"), id),
        (
            // The body takes precedence over the headers.
            Answer::new("401 Unauthorized", "x-ms-request-id: other\r\nx-ms-error-code: 1\r\n", UNAUTHORIZED),
            401,
            Some(401_002),
            Some("Unauthorized"),
            id,
        ),
        (
            Answer::new("404 Not Found", "x-ms-request-id: abc\r\nx-ms-error-code: 404201\r\n", ""),
            404,
            Some(404_201),
            None,
            Some("abc"),
        ),
        (
            Answer::new("429 Too Many Requests", "", throttled),
            429,
            Some(429_001),
            Some("Operations are being throttled for this tenant."),
            Some("t"),
        ),
        (Answer::new("500 Internal Server Error", "", r#"{"errorCode":500001}"#), 500, Some(500_001), None, None),
        (
            Answer::new("502 Bad Gateway", "", "<html>\n<b>Bad\tGateway</b>\u{1b}[31m\r\n</html>"),
            502,
            None,
            Some("<html> <b>Bad Gateway</b> [31m </html>"),
            None,
        ),
        (Answer::new("503 Busy", "", r#"{"detail":"later"}"#), 503, None, Some(r#"{"detail":"later"}"#), None),
        (Answer::new("302 Found", "Location: https://login.example/\r\n", ""), 302, None, None, None),
        (Answer::new("204 No Content", "", ""), 204, None, None, None),
        // A success status with an error in the body.
        (Answer::new("200 OK", "", UNAUTHORIZED), 200, Some(401_002), Some("Unauthorized"), id),
    ] {
        let refusal = refusal(answer.clone()).await;
        assert_eq!(refusal.by, RefusedBy::Status(status), "{answer:?}");
        assert_eq!(refusal.error_code, code, "{answer:?}");
        assert_eq!(refusal.message.as_deref(), message, "{answer:?}");
        assert_eq!(refusal.tracking_id.as_deref(), tracking_id, "{answer:?}");
        assert_eq!((refusal.endpoint.as_str(), refusal.stage), (ENDPOINT, Stage::Register));
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_status_if_the_body_cannot_be_read() {
    let cut = b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\nRetry-After: 9\r\n\r\n<html>".to_vec();
    let huge = format!("HTTP/1.1 503 Busy\r\nRetry-After: 9\r\nContent-Length: {}\r\n\r\n", 10_000_000).into_bytes();
    for bytes in [cut, huge] {
        let refusal = refusal(Answer::Whole(bytes)).await;
        assert_eq!((refusal.by, refusal.message), (RefusedBy::Status(503), None));
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(9)));
    }
    let long = refusal(Answer::new("502 Bad Gateway", "", &"ä".repeat(5_000))).await;
    assert_eq!(long.message.expect("some of it"), "ä".repeat(200));
}

#[tokio::test]
async fn retry_after_is_parsed_in_every_form_from_successes_and_refusals() {
    let seconds = |it| Some(Duration::from_secs(it));
    let date = "Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n";
    for (headers, expected) in [
        ("Retry-After: 3\r\n".to_owned(), seconds(3)),
        ("retry-after: 0\r\n".to_owned(), seconds(0)),
        (format!("{date}Retry-After: Tue, 14 Nov 2023 22:13:25 GMT\r\n"), seconds(5)),
        (format!("{date}Retry-After: Tue, 14 Nov 2023 22:13:15 GMT\r\n"), seconds(0)),
        // Without a `Date` header, the client compares the time in `Retry-After` with its own clock. By this clock, the
        // time is in the past, so the wait is 0.
        ("Retry-After: Tue, 14 Nov 2023 22:13:25 GMT\r\n".to_owned(), seconds(0)),
        ("Retry-After: soon\r\n".to_owned(), None),
        ("Retry-After: -1\r\n".to_owned(), None),
        (String::new(), None),
    ] {
        let reply = answered(Answer::new("202 Accepted", &headers, ASSIGNING)).await.expect("202");
        assert_eq!(reply.retry_after, expected, "{headers}");
        let refusal = refusal(Answer::new("429 Too Many Requests", &headers, "{}")).await;
        assert_eq!(refusal.retry_after, expected, "{headers}");
        let second = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(refusal.server_time, headers.contains("Date").then_some(second), "{headers}");
    }
}

#[tokio::test]
async fn a_tpm_challenge_is_returned() {
    let body = r#"{"message":"Authorization required","authenticationKey":"AAA=","keyName":"registration"}"#;
    let reply = answered(Answer::new("401 Unauthorized", "", body)).await.expect("a challenge");
    let DpsBody::TpmChallenge(challenge) = reply.body else { panic!("{reply:?}") };
    assert_eq!((challenge.authentication_key.as_str(), challenge.key_name.as_str()), ("AAA=", "registration"));
}

#[tokio::test]
async fn a_success_without_valid_json_is_a_protocol_error() {
    for (body, excerpt) in [
        ("<html><body>Welcome to the hotel</body></html>", "<html><body>Welcome to the hotel</body></html>"),
        ("{\"operationId\":\"4.a\",\"status\":", "{\"operationId\":\"4.a\",\"status\":"),
        ("{\"operationId\":\"4.a\"}", "{\"operationId\":\"4.a\"}"),
        ("[]", "[]"),
        ("", ""),
        ("a\u{1b}[31m\r\nb", "a[31mb"),
    ] {
        match answered(Answer::new("200 OK", "Content-Type: text/html\r\n", body)).await {
            Err(TransportError::Protocol {
                endpoint,
                stage: Stage::Register,
                source: ProtoError::Json { excerpt: it, .. },
            }) => {
                assert_eq!((endpoint.as_str(), it.as_str()), (ENDPOINT, excerpt));
            }
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_protocol_error() {
    for bytes in [&b"220 mail.example ESMTP\r\n\r\n"[..], b"HTTP/1.1 2xx OK\r\n\r\n", b"\x20\x02\x00\x00\r\n\r\n"] {
        let error = answered(Answer::Whole(bytes.to_vec())).await.expect_err("not HTTP");
        assert!(
            matches!(
                &error,
                TransportError::Protocol { stage: Stage::Register, source: ProtoError::Unexpected(_), .. }
            ),
            "{bytes:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_above_the_limit_is_not_read() {
    let limit = hubward_proto::limits::DPS_RESPONSE_MAX;
    let announced = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", limit + 1).into_bytes();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let endless = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}", chunk.repeat(8)).into_bytes();
    for bytes in [announced, endless] {
        match answered(Answer::Whole(bytes)).await {
            Err(TransportError::Protocol { source: ProtoError::TooLarge { size, limit: it, .. }, .. }) => {
                assert!(it == limit && size > limit, "{size}");
            }
            other => panic!("{other:?}"),
        }
    }
    // A body of the maximum size.
    let body = format!("{ASSIGNED}{}", " ".repeat(limit - ASSIGNED.len()));
    answered(Answer::new("200 OK", "", &body)).await.expect("200");
}

#[tokio::test]
async fn an_answer_that_ends_early_is_a_closed_connection() {
    for bytes in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"operationId\":",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"ope\r\n",
    ] {
        let error = answered(Answer::Whole(bytes.to_vec())).await.expect_err("half an answer");
        assert!(matches!(&error, TransportError::Closed { stage: Stage::Register, .. }), "{bytes:?}: {error:?}");
        assert!(error.is_retryable());
    }
    let mut server = Server::start(vec![vec![Answer::Whole(Vec::new())]]).await;
    let error = server.dps.operation_status(&register(), &operation(), None).await.expect_err("no answer");
    assert!(matches!(&error, TransportError::Closed { stage: Stage::Poll, .. }), "{error:?}");
}

#[tokio::test]
async fn a_rejected_certificate_names_the_reason() {
    for (shown, expected) in [
        (Shown { trusted: false, ..GOOD }, TlsFault::Untrusted),
        (Shown { years: (2000, 2001), ..GOOD }, TlsFault::Expired),
        (Shown { years: (2099, 2100), ..GOOD }, TlsFault::NotYetValid),
        (Shown { name: "other.example", ..GOOD }, TlsFault::WrongName),
    ] {
        let mut server = Server::with_certificate(shown, vec![vec![]]).await;
        let error = server.dps.register(&register(), Some(&token())).await.expect_err("a bad certificate");
        let TransportError::Tls { endpoint, fault, source } = &error else { panic!("{shown:?}: {error:?}") };
        assert_eq!((endpoint.as_str(), *fault, error.stage()), (ENDPOINT, expected, Some(Stage::Tls)));
        assert!(source.to_string().contains("certificate"), "{source}");
        assert!(server.requests.try_recv().is_err(), "nothing was sent");
    }
}

#[tokio::test]
async fn a_peer_without_tls_and_a_closed_connection_are_different_errors() {
    for (says, expected) in [(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], Some(TlsFault::NotTls)), (b"", None)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut dps = client(listener.local_addr().expect("its address").port(), &certificate(GOOD).1);
        tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.expect("a client");
            // Read the ClientHello first: closing with unread bytes would reset the connection.
            let _ = tcp.read(&mut [0; 4096]).await;
            tcp.write_all(says).await.expect("the client reads");
        });
        let error = dps.register(&register(), None).await.expect_err("no TLS");
        match (&error, expected) {
            (TransportError::Tls { fault, .. }, Some(expected)) => assert_eq!(*fault, expected),
            (TransportError::Closed { stage: Stage::Tls, source: None, .. }, None) => {}
            _ => panic!("{error:?}"),
        }
    }
}

#[tokio::test]
async fn a_refused_connection_names_host_and_address() {
    // The socket is bound but does not listen. The system therefore refuses connections, and no other program can use
    // the port.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = socket.local_addr().expect("its address");
    let error =
        client(address.port(), &certificate(GOOD).1).register(&register(), None).await.expect_err("no program listens");
    let TransportError::NotListening { endpoint, source } = &error else { panic!("{error:?}") };
    assert_eq!(endpoint, ENDPOINT);
    assert_eq!(source.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(source.to_string().starts_with(&address.to_string()), "{source}");
}

#[tokio::test]
async fn an_invalid_host_or_client_version_is_an_error() {
    use hubward_dial::{Endpoint, TcpDialer, TlsSettings};
    for host in ["no name", "a..b", ""] {
        let tls = TlsSettings::from_pem(certificate(GOOD).1.as_bytes()).client_config().expect("an authority");
        let mut dps = hubward_https::HttpsDps::new(Endpoint::new(host, 443), TcpDialer::new(), tls);
        let error = dps.register(&register(), None).await.expect_err("no host name");
        assert!(matches!(&error, TransportError::Connect { .. }), "{host}: {error:?}");
    }
    let mut server = Server::start(vec![vec![]]).await;
    let error = server.dps.register(&register().client_version("a\r\nX: y"), None).await.expect_err("two lines");
    assert!(matches!(&error, TransportError::Request(_)), "{error:?}");
}

#[tokio::test]
async fn a_payload_above_the_limit_is_not_sent() {
    let mut server = Server::start(vec![]).await;
    let request = register().payload("x".repeat(96 * 1024).into());
    let error = server.dps.register(&request, Some(&token())).await.expect_err("too large");
    assert!(matches!(error, TransportError::Request(ProtoError::TooLarge { limit: 98_304, .. })), "{error}");
}

#[tokio::test]
async fn the_client_reconnects_after_the_server_closes() {
    let last = Answer::new("202 Accepted", "Connection: close\r\n", ASSIGNING);
    let mut server = Server::start(vec![vec![last], vec![Answer::new("200 OK", "", ASSIGNED)]]).await;
    server.dps.register(&register(), Some(&token())).await.expect("202");
    server.dps.operation_status(&register(), &operation(), Some(&token())).await.expect("200");
    let connections = [server.requests.recv().await, server.requests.recv().await].map(|it| it.expect("a request").0);
    assert_eq!(connections, [0, 1]);
}

#[tokio::test]
async fn a_request_works_after_an_earlier_one_was_dropped() {
    let mut server = Server::start(vec![vec![Answer::Silence], vec![Answer::new("202 Accepted", "", ASSIGNING)]]).await;
    let Server { dps, requests } = &mut server;
    let (request, token) = (register(), token());
    tokio::select! {
        outcome = dps.register(&request, Some(&token)) => panic!("an answer that the server did not send: {outcome:?}"),
        seen = requests.recv() => assert_eq!(seen.expect("a request").0, 0),
    }
    let reply = server.dps.register(&request, Some(&token)).await.expect("202");
    assert_eq!(status_of(reply), AssignmentStatus::Assigning);
    assert!(server.request().await.starts_with("PUT "));
}

#[tokio::test]
async fn an_error_redacts_the_token_that_an_answer_quotes() {
    let signature = "cGxlYXNlIGRvIG5vdCBzaG93IG1lIHRvIGFueWJvZHk";
    let quoted = serde_json::json!(TOKEN).to_string();
    let in_json = format!(r#"{{"errorCode":400001,"message":{quoted}}}"#);
    for answer in [
        Answer::new("400 Bad Request", "", &format!("you sent {TOKEN}")),
        Answer::new("400 Bad Request", "", &in_json),
        Answer::new("200 OK", "", TOKEN),
        // The JSON parser quotes unexpected text.
        Answer::new("200 OK", "", &quoted),
        Answer::new("200 OK", "", &format!(r#"{{"status":"assigned","registrationState":{quoted}}}"#)),
    ] {
        let error = answered(answer.clone()).await.expect_err("nonsense");
        let shown = format!("{error:?} {}", error.chain());
        assert!(!shown.contains(signature), "{answer:?}: {shown}");
        assert!(shown.contains("redacted"), "{answer:?}: {shown}");
    }
    let server = Server::start(vec![]).await;
    assert!(format!("{:?}", server.dps).starts_with("HttpsDps { endpoint: Endpoint {"));
}

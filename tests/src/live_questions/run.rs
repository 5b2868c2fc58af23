//! Asks one cloud the questions. Several questions run at the same time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::asker::Asker;
use super::cloud::{Cloud, DPS_VERSION, HUB_VERSION};
use super::output::print_line;
use super::questions::Question;
use super::record::Answer;

/// Maximum number of questions that run at the same time. One exclusive question may run in addition.
const CONCURRENT_MAX: usize = 4;

/// Maximum time of a question. Every question takes far less. A question that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(900);

/// Sends each service a request that changes nothing. This finds a wrong login before the run creates anything.
pub(super) async fn check_logins(cloud: &Cloud) -> Result<(), String> {
    let paths = [
        (&cloud.hub, format!("/devices?top=1&{HUB_VERSION}"), "IOTHUB_CONNECTION_STRING"),
        (&cloud.dps, format!("/enrollments/{}?{DPS_VERSION}", cloud.prefix), "PROVISIONING_CONNECTION_STRING"),
    ];
    for (service, path, variable) in paths {
        let headers = [("Authorization", cloud.owner_token(service))];
        let reply = cloud.request(&service.host, "GET", &path, &headers, b"").await;
        let host = &service.host;
        match reply.status {
            None => return Err(format!("{host} does not answer: {}", reply.summary())),
            Some(401 | 403) => {
                let answer = reply.summary();
                return Err(format!("{host} refuses the login: {answer}; check {variable}: policy, key, host"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Asks the questions. Returns the answers, sorted by the numbers of the questions.
pub(super) async fn ask_all(cloud: &Arc<Cloud>, questions: &[&'static Question], prints_progress: bool) -> Vec<Answer> {
    let places = Arc::new(Semaphore::new(CONCURRENT_MAX));
    let (mut running, begun) = (JoinSet::new(), Instant::now());
    for question in questions.iter().copied() {
        let (cloud, places) = (cloud.clone(), places.clone());
        running.spawn(async move {
            let answer = if question.is_exclusive {
                let _exclusive = cloud.exclusive.lock().await;
                ask(&cloud, question).await
            } else {
                let _place = places.acquire().await;
                ask(&cloud, question).await
            };
            if prints_progress {
                let seconds = begun.elapsed().as_secs();
                let end = answer.stopped.as_ref().map(|it| format!(", stopped: {it}")).unwrap_or_default();
                let count = answer.observations.len();
                print_line(format_args!(
                    "{:>2} {}: {count} observations after {seconds} s{end}",
                    question.number, question.title
                ));
            }
            answer
        });
    }
    let mut answers = Vec::new();
    while let Some(done) = running.join_next().await {
        answers.extend(done.ok());
    }
    // A question whose task panicked has no answer. Add an answer for it, which reports the panic.
    for question in questions {
        if !answers.iter().any(|it: &Answer| it.number == question.number) {
            let mut answer = Answer::new(question.number, question.title);
            answer.stopped = Some("the question's task panicked".to_owned());
            answers.push(answer);
        }
    }
    answers.sort_by_key(|it| it.number);
    answers
}

async fn ask(cloud: &Arc<Cloud>, question: &Question) -> Answer {
    let asker = Arc::new(Asker::new(cloud.clone(), question.number, question.title));
    let asked = tokio::time::timeout(LIMIT, (question.ask)(asker.clone())).await;
    let stopped = asked.unwrap_or_else(|_| Err(format!("still running after {} s", LIMIT.as_secs()))).err();
    asker.answer(stopped.map(|it| cloud.names.plain(&cloud.mask.apply(&it))))
}

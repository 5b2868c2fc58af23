//! The twenty questions.

mod enrollments;
mod filters;
mod identities;
mod lifecycle;
mod logins;
mod messages;
mod methods;
mod notices;
mod pages;
mod queries;
mod refusals;
mod registrations;
mod reports;
mod rights;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use super::asker::Asker;

/// All questions, in the order of their numbers.
pub(super) const ALL: [Question; 20] = [
    question(1, "Refused filters", |it| Box::pin(filters::ask(it))),
    question(2, "Refused logins", |it| Box::pin(logins::ask(it))),
    question(3, "Registrations over HTTPS", |it| Box::pin(registrations::ask(it))),
    question(4, "Enrollments that do not exist", |it| Box::pin(enrollments::absent(it))),
    question(5, "Conditions of enrollments", |it| Box::pin(enrollments::conditions(it))),
    question(6, "Versions and missing credentials", |it| Box::pin(refusals::ask(it))),
    question(7, "Sizes of pages", |it| Box::pin(pages::ask(it))),
    question(8, "Twin sections that are too large", |it| Box::pin(reports::large(it))),
    question(9, "Reports at the limits", |it| Box::pin(reports::odd(it))),
    question(10, "Notices of desired properties", |it| Box::pin(notices::ask(it))),
    question(11, "Members that an update leaves out", |it| Box::pin(identities::updates(it))),
    question(12, "Bulk requests", |it| Box::pin(identities::bulk(it))),
    question(13, "Calls that cannot be answered", |it| Box::pin(methods::calls(it))),
    question(14, "Odd answers to calls", |it| Box::pin(methods::answers(it))),
    exclusive(15, "Messages to devices over HTTPS", |it| Box::pin(messages::sending(it))),
    exclusive(16, "Feedback", |it| Box::pin(messages::feedback(it))),
    exclusive(17, "Messages that are not acknowledged", |it| Box::pin(messages::redelivery(it))),
    question(18, "Modules of a device that changes", |it| Box::pin(lifecycle::ask(it))),
    question(19, "Queries", |it| Box::pin(queries::ask(it))),
    question(20, "Rights of policies", |it| Box::pin(rights::ask(it))),
];

type Asking = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// One question.
pub(super) struct Question {
    pub(super) number: u8,
    pub(super) title: &'static str,
    /// If `true`, the question reads data of the whole hub or advances the clock. Only one question of this kind runs
    /// at a time.
    pub(super) is_exclusive: bool,
    pub(super) ask: fn(Arc<Asker>) -> Asking,
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Question({}, {})", self.number, self.title)
    }
}

const fn question(number: u8, title: &'static str, ask: fn(Arc<Asker>) -> Asking) -> Question {
    Question { number, title, is_exclusive: false, ask }
}

const fn exclusive(number: u8, title: &'static str, ask: fn(Arc<Asker>) -> Asking) -> Question {
    Question { number, title, is_exclusive: true, ask }
}

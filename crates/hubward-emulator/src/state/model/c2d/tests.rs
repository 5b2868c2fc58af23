//! Tests of the queue without the rest of the emulator. Each test sets the time.

use super::*;

const START: SystemTime = SystemTime::UNIX_EPOCH;
const HOUR: Duration = Duration::from_secs(3600);

fn at(seconds: u64) -> SystemTime {
    START + Duration::from_secs(seconds)
}

fn post(id: &str) -> Arc<Post> {
    let (topic, body) = (format!("devices/d1/messages/devicebound/%24.mid={id}"), "hi".into());
    Arc::new(Post { topic, body, message_id: id.to_owned(), ack: Some(Ack::Full), input: None })
}

/// A queue with messages `1`, `2`, … and connection 1.
fn queue(messages: u64) -> Queue {
    let mut queue = Queue::default();
    for number in 1..=messages {
        queue.put(post(&number.to_string()), START, START + HOUR).expect("room");
    }
    queue.begin(1);
    queue
}

/// Returns the deliveries to a connection. Each item contains the message id, and whether the delivery is a redelivery.
fn taken(queue: &mut Queue, owner: u64, now: SystemTime) -> Vec<(String, bool)> {
    let rules = Rules::default();
    queue.tick(now, &rules);
    std::iter::from_fn(|| queue.take(owner, 1, now, &rules))
        .map(|it| (it.post.message_id.clone(), it.duplicate))
        .collect()
}

fn outcomes(queue: &mut Queue) -> Vec<(String, Outcome)> {
    queue.drain_removed().into_iter().map(|it| (it.post.message_id.clone(), it.outcome)).collect()
}

fn states(queue: &Queue) -> Vec<(String, CloudMessageState, u32)> {
    queue.view().into_iter().map(|it| (it.message_id, it.state, it.delivery_count)).collect()
}

fn new(id: &str) -> (String, bool) {
    (id.to_owned(), false)
}

fn again(id: &str) -> (String, bool) {
    (id.to_owned(), true)
}

#[test]
fn a_queue_holds_fifty_messages_and_refuses_the_next() {
    let mut queue = queue(50);
    assert_eq!(queue.put(post("51"), START, START + HOUR), Err(Full));
    assert_eq!(taken(&mut queue, 1, START).len(), WINDOW);
    assert_eq!(queue.put(post("51"), START, START + HOUR), Err(Full), "a delivered message still counts");
    assert_eq!(queue.acknowledge(1, 2, START), Acknowledged::Completed);
    assert_eq!(queue.put(post("51"), START, START + HOUR), Ok(51));
}

#[test]
fn a_message_is_completed_by_its_acknowledgement() {
    let mut queue = queue(3);
    assert_eq!(taken(&mut queue, 1, START), [new("1"), new("2"), new("3")]);
    assert_eq!(queue.acknowledge(1, 3, START), Acknowledged::OutOfOrder);
    assert_eq!(queue.acknowledge(1, 9, START), Acknowledged::Unknown);
    assert_eq!(queue.acknowledge(2, 2, START), Acknowledged::Unknown, "another connection");
    assert_eq!(queue.acknowledge(1, 2, START), Acknowledged::Completed);
    assert_eq!(queue.acknowledge(1, 2, START), Acknowledged::Unknown, "twice");
    assert_eq!(queue.acknowledge(1, 3, START), Acknowledged::Completed);
    assert_eq!(outcomes(&mut queue), [("1".into(), Outcome::Success), ("2".into(), Outcome::Success)]);
    assert_eq!(states(&queue), [("3".into(), CloudMessageState::Invisible, 1)]);
}

#[test]
fn quality_of_service_0_completes_by_delivering() {
    let (mut queue, rules) = (queue(20), Rules::default());
    let delivered = std::iter::from_fn(|| queue.take(1, 0, START, &rules)).count();
    assert_eq!((delivered, queue.view().len(), outcomes(&mut queue).len()), (20, 0, 20), "without a window");
}

#[test]
fn messages_of_an_ended_connection_become_visible_in_order() {
    let (mut queue, rules) = (queue(3), Rules::default());
    let first = queue.take(1, 1, START, &rules).expect("a message");
    assert_eq!(taken(&mut queue, 1, START), [new("2"), new("3")]);
    assert_eq!(queue.acknowledge(1, first.packet_id, START), Acknowledged::Completed);
    queue.end(1);
    assert_eq!(taken(&mut queue, 1, START), [], "the client is not connected");
    assert_eq!(states(&queue)[0], ("2".into(), CloudMessageState::Enqueued, 1));
    queue.begin(2);
    let second = queue.take(2, 1, START, &rules).expect("a message");
    assert_eq!((second.packet_id, second.duplicate), (3, true), "the packet id stays");
    assert_eq!(taken(&mut queue, 2, START), [again("3")]);
}

#[test]
fn a_newer_connection_takes_over_before_the_older_one_has_ended() {
    let mut queue = queue(1);
    assert_eq!(taken(&mut queue, 1, START), [new("1")]);
    queue.begin(2);
    assert_eq!(taken(&mut queue, 2, START), [again("1")]);
    assert_eq!(queue.acknowledge(1, 2, START), Acknowledged::Unknown);
    queue.end(1);
    assert_eq!(queue.acknowledge(2, 2, START), Acknowledged::Completed);
}

#[test]
fn a_message_is_redelivered_after_those_in_flight_when_its_lock_expires() {
    let mut queue = queue(1);
    assert_eq!(queue.next_release(), None);
    assert_eq!(taken(&mut queue, 1, at(0)), [new("1")]);
    queue.put(post("2"), at(30), at(3600)).expect("room");
    assert_eq!(taken(&mut queue, 1, at(30)), [new("2")]);
    assert_eq!(queue.next_release(), Some(at(60)));
    assert_eq!(taken(&mut queue, 1, at(59)), []);
    assert_eq!(taken(&mut queue, 1, at(60)), [again("1")]);
    assert_eq!(queue.acknowledge(1, 3, at(60)), Acknowledged::OutOfOrder, "it was received as the second");
    assert_eq!(queue.acknowledge(1, 2, at(60)), Acknowledged::Completed, "and this as the first");
    assert_eq!(queue.acknowledge(1, 3, at(60)), Acknowledged::Completed);
}

#[test]
fn a_new_connection_receives_unacknowledged_messages_again() {
    let mut queue = queue(2);
    assert_eq!(taken(&mut queue, 1, at(0)), [new("1"), new("2")]);
    queue.begin(2);
    assert_eq!(taken(&mut queue, 2, at(1)), [again("1"), again("2")]);
    assert_eq!(queue.acknowledge(2, 3, at(1)), Acknowledged::OutOfOrder);
    assert_eq!(queue.acknowledge(2, 2, at(1)), Acknowledged::Completed);
    assert_eq!(queue.acknowledge(2, 3, at(1)), Acknowledged::Completed);
}

#[test]
fn a_late_acknowledgement_removes_the_place_of_a_message() {
    let (mut queue, rules) = (queue(2), Rules::default());
    let first = queue.take(1, 1, at(0), &rules).expect("a message").packet_id;
    let second = queue.take(1, 1, at(30), &rules).expect("a message").packet_id;
    queue.tick(at(60), &rules);
    assert_eq!(queue.acknowledge(1, first, at(60)), Acknowledged::Unknown);
    assert_eq!(taken(&mut queue, 1, at(60)), [again("1")]);
    // The late acknowledgement has removed the place of the first message. Its new place is after the second message,
    // so the client must acknowledge the second message first.
    assert_eq!(queue.acknowledge(1, first, at(60)), Acknowledged::OutOfOrder);
    assert_eq!(queue.acknowledge(1, second, at(60)), Acknowledged::Completed);
    assert_eq!(queue.acknowledge(1, first, at(60)), Acknowledged::Completed);
}

#[test]
fn a_late_acknowledgement_has_no_effect() {
    let (mut queue, rules) = (queue(1), Rules::default());
    assert_eq!(taken(&mut queue, 1, at(0)), [new("1")]);
    queue.tick(at(60), &rules);
    assert_eq!(queue.acknowledge(1, 2, at(60)), Acknowledged::Unknown);
    assert_eq!(states(&queue), [("1".into(), CloudMessageState::Enqueued, 1)]);
}

#[test]
fn messages_expire_while_they_are_visible() {
    let (mut queue, rules) = (queue(2), Rules::default());
    let first = queue.take(1, 1, at(3590), &rules).expect("a message");
    queue.tick(at(3600), &rules);
    assert_eq!(outcomes(&mut queue), [("2".into(), Outcome::Expired)]);
    assert_eq!(queue.acknowledge(1, first.packet_id, at(3601)), Acknowledged::Completed, "it was locked in time");
    let mut queue = self::queue(1);
    assert_eq!(taken(&mut queue, 1, at(3590)), [new("1")]);
    queue.tick(at(3650), &rules);
    assert_eq!(outcomes(&mut queue), [("1".into(), Outcome::Expired)], "with its lock");
}

#[test]
fn neither_a_closed_connection_nor_an_expired_lock_gives_up_a_message() {
    let rules = Rules { ttl: 10 * HOUR, ..Rules::default() };
    let mut queue = Queue::default();
    queue.put(post("1"), START, START + 10 * HOUR).expect("room");
    for connection in 1..=100 {
        queue.begin(connection);
        assert!(queue.take(connection, 1, START, &rules).is_some());
        if connection % 2 == 0 {
            queue.end(connection);
        }
    }
    assert_eq!(states(&queue), [("1".into(), CloudMessageState::Enqueued, 100)]);
    queue.begin(101);
    for minute in 0..100 {
        assert_eq!(taken(&mut queue, 101, at(60 * minute)), [again("1")], "minute {minute}");
    }
    assert_eq!((outcomes(&mut queue), queue.len()), (Vec::new(), 1));
}

#[test]
fn a_message_is_given_up_after_its_last_lock_if_configured() {
    let rules = Rules { max_deliveries: Some(2), ..Rules::default() };
    let mut queue = queue(2);
    // The end of a connection does not count as a delivery.
    for connection in 2..10 {
        queue.begin(connection);
        assert_eq!(queue.take(connection, 1, at(0), &rules).map(|it| it.packet_id), Some(2));
    }
    queue.tick(at(60), &rules);
    assert_eq!(outcomes(&mut queue), []);
    assert_eq!(queue.take(9, 1, at(60), &rules).map(|it| it.packet_id), Some(2));
    queue.tick(at(119), &rules);
    assert_eq!(outcomes(&mut queue), []);
    queue.tick(at(120), &rules);
    assert_eq!(outcomes(&mut queue), [("1".into(), Outcome::DeliveryCountExceeded)]);
    assert_eq!(states(&queue), [("2".into(), CloudMessageState::Enqueued, 0)]);
    assert_eq!(queue.purge(START), 1);
    assert_eq!(outcomes(&mut queue), [("2".into(), Outcome::Purged)]);
}

#[test]
fn packet_ids_are_never_0_and_never_in_use() {
    let mut queue = queue(1);
    assert_eq!(packet_id(u64::from(PACKET_ID_MAX) - 1), PACKET_ID_MAX);
    assert_eq!((packet_id(0), packet_id(u64::from(PACKET_ID_MAX)), packet_id(u64::MAX)), (1, 1, PACKET_ID_MAX));
    queue.sequence = u64::from(PACKET_ID_MAX);
    assert_eq!(queue.put(post("2"), START, START + HOUR), Ok(u64::from(PACKET_ID_MAX) + 2), "its id is free");
}

/// Random puts, deliveries, acknowledgements, reconnects and clock changes.
#[test]
fn no_message_is_lost_redelivered_after_completion_or_reordered() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let rules = Rules { max_deliveries: random.bool().then(|| random.u32(1..6)), ..Rules::default() };
        let (mut queue, mut now, mut owner, mut put) = (Queue::default(), START, 1, 0_u64);
        // `received` contains the packet ids and numbers of the messages in the order of their first receipt. The
        // client must acknowledge in this order.
        //
        // `ended` contains the outcome of each message that has left the queue.
        let mut received: Vec<(u16, u64)> = Vec::new();
        let mut ended: std::collections::BTreeMap<u64, Outcome> = std::collections::BTreeMap::new();
        queue.begin(owner);
        for step in 0..400 {
            let context = format!("seed {seed}, step {step}");
            match random.u8(..10) {
                0..3 => {
                    let expires = now + Duration::from_secs(random.u64(1..600));
                    let number = put + 1;
                    match queue.put(post(&number.to_string()), now, expires) {
                        Ok(_) => put = number,
                        Err(Full) => assert_eq!(queue.view().len(), CLOUD_TO_DEVICE_QUEUE, "{context}"),
                    }
                }
                3..6 => {
                    if let Some(delivery) = queue.take(owner, 1, now, &rules) {
                        let number: u64 = delivery.post.message_id.parse().expect("a number");
                        assert!(!ended.contains_key(&number), "{context}: {number} is done with");
                        if !delivery.duplicate {
                            let before = received.iter().map(|it| it.1).filter(|it| *it > number).count();
                            assert_eq!(before, 0, "{context}: {number} came after a newer one");
                        }
                        let receipt = (delivery.packet_id, number);
                        if !received.contains(&receipt) {
                            received.push(receipt);
                        }
                    }
                }
                6..8 => {
                    if !received.is_empty() {
                        let (packet_id, number) = received.remove(0);
                        let mut waiting = queue.messages.iter();
                        let held = waiting.any(|it| it.packet_id == packet_id && it.lock.is_some());
                        let expected = if held { Acknowledged::Completed } else { Acknowledged::Unknown };
                        assert_eq!(queue.acknowledge(owner, packet_id, now), expected, "{context}: {number}");
                        if held {
                            let removed = queue.removed.last().expect("just completed");
                            assert_eq!(removed.post.message_id, number.to_string(), "{context}");
                        }
                    }
                }
                8 => {
                    received.clear();
                    queue.end(owner);
                    owner += 1;
                    queue.begin(owner);
                }
                _ => {
                    now += Duration::from_secs(random.u64(0..50));
                    queue.tick(now, &rules);
                }
            }
            for (id, outcome) in outcomes(&mut queue) {
                let number = id.parse().expect("a number");
                assert_eq!(ended.insert(number, outcome), None, "{context}: {number} ended twice");
            }
            let waiting = &queue.messages;
            assert_eq!(ended.len() + waiting.len(), usize::try_from(put).expect("few"), "{context}: one is lost");
            assert!(waiting.is_sorted_by_key(|it| it.sequence), "{context}");
            let held = waiting.iter().filter(|it| it.lock.is_some()).count();
            assert!(held <= WINDOW, "{context}");
        }
        assert!(ended.values().any(|it| *it == Outcome::Success), "seed {seed} completes something");
    }
}

use super::{Parking, Published};

#[test]
fn an_awake_consumer_is_not_woken() {
    let parking = Parking::new();
    assert_eq!(parking.published(), Published::Seen);
}

#[test]
fn a_sleeper_is_woken_once() {
    let parking = Parking::new();
    parking.announce();
    assert_eq!(parking.published(), Published::Wake);
    assert_eq!(parking.published(), Published::Seen);
    parking.resume();
    assert_eq!(parking.published(), Published::Seen);
    parking.announce();
    assert_eq!(parking.published(), Published::Wake);
}

#[test]
fn every_publisher_learns_of_the_end() {
    let parking = Parking::new();
    parking.announce();
    parking.resume();
    parking.end();
    assert_eq!(parking.published(), Published::Ended);
    assert_eq!(parking.published(), Published::Ended);
}

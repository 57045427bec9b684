use super::{FILL, PAGE, POISON, pattern};

#[test]
fn patterns_differ_and_mark_pages() {
    let message = |turn| (0..3 * PAGE).map(|index| pattern(turn, index)).collect::<Vec<_>>();
    let first = message(0);
    assert_eq!((first[0], first[PAGE], first[2 * PAGE]), (0, 0, 0));
    assert!(!first.contains(&POISON));
    for turn in 1..100 {
        let other = message(turn);
        assert!(!other.contains(&POISON));
        assert_ne!(first, other);
    }
}

#[test]
fn no_message_looks_like_the_first_of_a_client() {
    for size in [2, 8, 64] {
        assert!((0..size).any(|index| index % PAGE != 0 && pattern(0, index) != FILL), "{size}");
    }
}

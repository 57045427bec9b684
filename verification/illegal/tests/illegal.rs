//! The uses, one file each, with what the compiler must say beside it.

use pmd_core::queue::QueueProvider;

#[test]
fn illegal_uses_do_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/illegal/*.rs");
}

/// Two blanket implementations: the second one makes `marker` ambiguous for every type that is `Sync`.
trait NotSync<Reason> {
    fn marker() {}
}
impl<T: ?Sized> NotSync<()> for T {}
impl<T: ?Sized + Sync> NotSync<u8> for T {}

fn movable<T: Send>() {}

/// Compiles only while a provider may move to its lane's thread and may not be shared with another one.
#[test]
fn a_provider_moves_but_is_not_shared() {
    movable::<QueueProvider<()>>();
    <QueueProvider<()> as NotSync<_>>::marker();
}

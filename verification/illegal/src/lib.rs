//! Uses of pmd-core that must not compile: the tests of this package try them.
//!
//! A package of its own, because what tries them is a tool with many dependencies: pmd-core's own tests are built again
//! and again, under sanitisers, under loom and with planted faults.

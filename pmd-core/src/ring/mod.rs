//! Lock-free rings and slots.

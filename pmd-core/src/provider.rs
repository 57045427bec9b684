//! The two seams.

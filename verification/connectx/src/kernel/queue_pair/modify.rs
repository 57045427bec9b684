//! Changing queue pairs: from `ib_uverbs_modify_qp` to what the device understands.

use crate::kernel::{
    command::{Call, Reply},
    context::Context,
    error::CommandError,
};

/// `ib_uverbs_modify_qp`.
pub(crate) fn modify(_context: &Context, _call: &Call) -> Result<Reply, CommandError> {
    Err(CommandError::Unsupported("another state of a queue pair"))
}

/// `ib_uverbs_ex_modify_qp`.
pub(crate) fn modify_extended(_context: &Context, _call: &Call) -> Result<Reply, CommandError> {
    Err(CommandError::Unsupported("another state of a queue pair"))
}

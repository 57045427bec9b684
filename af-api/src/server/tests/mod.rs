//! The server's side: which requests make a batch, buffers of the application, workers that do not keep to the protocol.

mod gather;
mod hostile;
mod offers;

//! Queue pairs and completion queues.

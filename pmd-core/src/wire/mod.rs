//! Work-queue and completion-queue entry formats of mlx5.

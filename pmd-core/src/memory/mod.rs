//! Registered memory: keys, access rights, and how an accelerator describes its memory.

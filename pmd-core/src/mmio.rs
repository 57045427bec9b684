//! Named barriers and doorbell stores.

//! The tests that both back ends have, named once.

/// The tests of a back end; with `exact` its devices name the syndrome of a wrong key as the specification does.
macro_rules! suite {
    ($backend:ident, exact: $exact:literal) => {
        fn backend(device: &Device) -> $backend {
            let options = NicBackendOptions { completions: 1024 };
            $backend::new(device.clone(), &options).expect("making the back end")
        }

        fn pair() -> Pair<$backend> {
            let device = device();
            Pair::new(&device, backend(&device))
        }

        #[test]
        #[ignore = "needs an RDMA device"]
        fn writes_arrive() {
            operations::writes(&mut pair());
        }

        #[test]
        #[ignore = "needs an RDMA device"]
        fn reads_arrive() {
            operations::reads(&mut pair());
        }

        #[test]
        #[ignore = "needs an RDMA device"]
        fn messages_arrive() {
            operations::messages(&mut pair());
        }

        #[test]
        #[ignore = "needs an RDMA device"]
        fn atomics_are_executed() {
            operations::atomics(&mut pair());
        }

        #[test]
        #[ignore = "needs an RDMA device"]
        fn unsignalled_requests_are_retired() {
            operations::batches(&mut pair());
        }

        #[test]
        #[ignore = "needs an RDMA device"]
        fn a_full_queue_gives_the_request_back() {
            operations::full_queue(&mut pair());
        }

        #[test]
        #[ignore = "needs an RDMA device"]
        fn a_wrong_key_is_reported() {
            faults::wrong_key(&mut pair(), $exact);
        }

        #[test]
        #[ignore = "needs an RDMA device"]
        fn a_failed_queue_pair_flushes_its_receives() {
            faults::failed_receives(&mut pair());
        }

        #[test]
        #[ignore = "needs an RDMA device"]
        fn a_reset_is_silent() {
            faults::reset_is_silent(&mut pair());
        }

        #[test]
        #[ignore = "needs an RDMA device"]
        fn a_destroyed_queue_pair_is_gone() {
            faults::destroyed(&mut pair());
        }

        #[test]
        #[ignore = "needs an RDMA device"]
        fn a_connected_queue_pair_is_not_connected_again() {
            faults::connected_twice(&mut pair());
        }

        #[test]
        #[ignore = "needs an RDMA device"]
        fn completions_end_a_park() {
            parking::completions(&mut pair());
        }

        #[test]
        #[ignore = "needs an RDMA device"]
        fn wake_ups_end_a_park() {
            parking::wake_ups(&mut pair());
        }

        #[test]
        #[ignore = "needs an RDMA device"]
        fn shared_receives_arrive() {
            let device = device();
            shared::shared_receives(&device, backend(&device));
        }

        #[test]
        #[ignore = "needs an RDMA device"]
        fn a_parked_back_end_hears_of_messages() {
            let device = device();
            parking::messages_between(&device, backend(&device), backend(&device));
        }
    };
}

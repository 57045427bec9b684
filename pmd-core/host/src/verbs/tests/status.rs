use pmd_core::wire::Syndrome;
use pmd_sys::verbs::*;

use super::super::{
    identity::{Identity, Queue, following},
    syndrome::{status_of, syndrome_of},
};

#[test]
fn every_status_passes_through_its_syndrome() {
    for status in IBV_WC_LOC_LEN_ERR..=IBV_WC_TM_RNDV_INCOMPLETE {
        assert_eq!(status_of(syndrome_of(status)), status);
    }
}

#[test]
fn every_listed_syndrome_has_a_status() {
    for syndrome in Syndrome::ALL {
        assert_eq!(syndrome_of(status_of(syndrome)), syndrome);
    }
    assert_eq!(status_of(Syndrome::Unknown(0x23)), IBV_WC_GENERAL_ERR, "not one of ours");
}

#[test]
fn statuses_mean_what_hardware_means() {
    assert_eq!(syndrome_of(IBV_WC_WR_FLUSH_ERR), Syndrome::Flushed);
    assert_eq!(syndrome_of(IBV_WC_REM_ACCESS_ERR), Syndrome::RemoteAccess);
    assert_eq!(syndrome_of(IBV_WC_RNR_RETRY_EXC_ERR), Syndrome::ReceiverNotReadyExceeded);
    assert_eq!(syndrome_of(IBV_WC_FATAL_ERR), Syndrome::Unknown(0x80 | 19));
}

#[test]
fn identities_pass_through_their_bits() {
    for queue in [Queue::Send, Queue::Receive, Queue::SharedReceive] {
        for (generation, handle, index) in [(0, 0, 0), (0x3fff, 0xffff, u32::MAX), (1, 2, 3)] {
            let identity = Identity { queue, generation, handle, index };
            assert_eq!(Identity::from_bits(identity.to_bits()), identity);
        }
    }
    assert_eq!((following(0), following(0x3fff)), (1, 0));
}

//! Somebody in the network: carries the bytes of connections, records them, and may change them.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the side that connects.
    There,
    /// To it.
    Back,
}

/// What went over one connection, there and back.
pub(crate) type Recording = Arc<Mutex<[Vec<u8>; 2]>>;

/// May change a piece; is told how many bytes went before on its connection and way.
pub(crate) type Change = dyn Fn(Way, usize, &mut [u8]) + Send + Sync;

/// Listens, and carries what comes to somewhere else. Its threads end with the connections.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    recordings: Arc<Mutex<Vec<Recording>>>,
}

impl Relay {
    pub(crate) fn to(target: SocketAddr) -> Self {
        Self::changing(SocketAddr::from(([127, 0, 0, 1], 0)), target, |_, _, _| ())
    }

    pub(crate) fn changing(
        listen: SocketAddr,
        target: SocketAddr,
        change: impl Fn(Way, usize, &mut [u8]) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(listen).unwrap();
        let address = listener.local_addr().unwrap();
        let recordings = Arc::<Mutex<Vec<Recording>>>::default();
        let (all, change) = (Arc::clone(&recordings), Arc::new(change) as Arc<Change>);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(target) else { continue };
                let recording = Recording::default();
                all.lock().unwrap().push(Arc::clone(&recording));
                let back = (far.try_clone().unwrap(), near.try_clone().unwrap());
                carry(Way::There, near, far, Arc::clone(&recording), Arc::clone(&change));
                carry(Way::Back, back.0, back.1, recording, Arc::clone(&change));
            }
        });
        Self { address, recordings }
    }

    /// All connections so far.
    pub(crate) fn recordings(&self) -> Vec<[Vec<u8>; 2]> {
        self.recordings.lock().unwrap().iter().map(|recording| recording.lock().unwrap().clone()).collect()
    }

    /// Whether any connection carried these bytes in one piece.
    pub(crate) fn has_seen(&self, bytes: &[u8]) -> bool {
        let contains = |all: &Vec<u8>| all.windows(bytes.len()).any(|window| window == bytes);
        self.recordings().iter().flatten().any(contains)
    }
}

fn carry(way: Way, mut from: TcpStream, mut to: TcpStream, recording: Recording, change: Arc<Change>) {
    thread::spawn(move || {
        let (mut bytes, mut before) = (vec![0; 64 << 10], 0);
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            recording.lock().unwrap()[usize::from(way == Way::Back)].extend_from_slice(&bytes[..count]);
            change(way, before, &mut bytes[..count]);
            before += count;
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        // Fails for one that is gone already.
        let _ = (to.shutdown(Shutdown::Write), from.shutdown(Shutdown::Read));
    });
}

//! The demo's arithmetic: activations that differ everywhere, and a feed-forward layer that depends on server, layer,
//! stage and column, so that a result that belongs elsewhere is seen. Brain floats, 16 bits, rounded to nearest even.

/// Which activation: of which worker, at which step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) worker: u32,
    pub(super) layer: u32,
    pub(super) stage: u32,
}

/// Fills an activation: values of magnitude 0.5 to 2.
pub(super) fn activation(place: Place, values: &mut [u16]) {
    let mut noise = Noise::new(&[1, place.worker, place.layer, place.stage]);
    for four in values.chunks_mut(4) {
        let mut bits = noise.next();
        for value in four {
            *value = bits as u16 & 0x80ff | 0x3f00;
            bits >>= 16;
        }
    }
}

/// A server's feed-forward layer at one step.
pub(super) struct Layer {
    gain: f32,
    /// One for each column.
    bias: Vec<f32>,
}

impl Layer {
    pub(super) fn new(server: u32, layer: u32, stage: u32, columns: usize) -> Self {
        let mut noise = Noise::new(&[2, server, layer, stage]);
        let mut unit = || (noise.next() >> 40) as f32 / (1 << 24) as f32;
        let gain = 0.5 + unit();
        Self { gain, bias: (0..columns).map(|_| unit() - 0.5).collect() }
    }

    /// The result of an activation of whole rows.
    pub(super) fn apply(&self, activation: &[u16], result: &mut [u16]) {
        let columns = self.bias.len().max(1);
        for (from, to) in activation.chunks(columns).zip(result.chunks_mut(columns)) {
            for ((from, to), bias) in from.iter().zip(to).zip(&self.bias) {
                *to = narrow(widen(*from) * self.gain + bias);
            }
        }
    }
}

const fn widen(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}

/// To nearest, ties to even. The demo has no infinities and nothing that is not a number.
const fn narrow(value: f32) -> u16 {
    let bits = value.to_bits();
    let odd = bits >> 16 & 1;
    ((bits + 0x7fff + odd) >> 16) as u16
}

/// A small generator (splitmix64), repeatable.
struct Noise(u64);

impl Noise {
    fn new(seed: &[u32]) -> Self {
        let mut noise = Self(0x6166);
        for &part in seed {
            noise.0 = noise.next() ^ u64::from(part);
        }
        noise
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brain_floats_round_to_nearest_even() {
        for (value, bits) in [
            (1.0, 0x3f80),
            (-2.5, 0xc020),
            (1.0 + 1.0 / 256.0, 0x3f80),
            (1.0 + 3.0 / 256.0, 0x3f82),
            (1.0 + 1.1 / 256.0, 0x3f81),
            (0.0, 0),
        ] {
            assert_eq!(narrow(value), bits, "{value}");
        }
        assert_eq!(widen(0x3fc0), 1.5);
        assert!((0..0x7f80).all(|bits| narrow(widen(bits)) == bits));
    }

    #[test]
    fn activations_differ_from_place_to_place_and_are_repeatable() {
        let of = |worker, layer, stage| {
            let mut values = vec![0; 1001];
            activation(Place { worker, layer, stage }, &mut values);
            values
        };
        assert_eq!(of(1, 2, 0), of(1, 2, 0));
        assert!(of(1, 2, 0).iter().all(|bits| (0.5..2.0).contains(&widen(*bits).abs())));
        for other in [of(0, 2, 0), of(1, 1, 0), of(2, 1, 0), of(1, 2, 1)] {
            let same = of(1, 2, 0).iter().zip(&other).filter(|(one, other)| one == other).count();
            assert!(same < 20, "{same} of 1001");
        }
    }

    #[test]
    fn results_depend_on_server_layer_stage_and_column() {
        let activation = vec![0x3f80; 12];
        let of = |server, layer, stage| {
            let mut result = vec![0; 12];
            Layer::new(server, layer, stage, 6).apply(&activation, &mut result);
            result
        };
        let one = of(0, 5, 2);
        assert_eq!(one[..6], one[6..], "rows are alike");
        assert!(one[..6].windows(2).any(|pair| pair[0] != pair[1]), "columns are not");
        for other in [of(1, 5, 2), of(0, 4, 2), of(0, 5, 1)] {
            assert_ne!(one, other);
        }
        let layer = Layer { gain: 0.5, bias: vec![0.25, -1.0] };
        let mut result = [0; 4];
        layer.apply(&[0x3f80, 0x4000, 0xbf80, 0x3f00], &mut result);
        assert_eq!(result.map(widen), [0.75, 0.0, -0.25, -0.75]);
    }
}

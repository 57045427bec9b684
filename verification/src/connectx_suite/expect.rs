//! What a program's output must show, beside its exit code. Pure.

/// Why a program's output is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unexpected {
    /// A line is missing.
    #[error("no line says {text:?}")]
    Missing {
        /// What one should say.
        text: String,
    },
    /// A line should not be there.
    #[error("a line says {line:?}")]
    Forbidden {
        /// It.
        line: String,
    },
    /// perftest's table has other rows.
    #[error("the table has rows of (bytes, iterations) {found:?} instead of {expected:?}")]
    Rows {
        /// Bytes and iterations of each row.
        found: Vec<(u64, u64)>,
        /// What they should be.
        expected: Vec<(u64, u64)>,
    },
}

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expect {
    /// Lines that contain these.
    Lines(&'static [&'static str]),
    /// A ping-pong's summary, and no complaint about what was received.
    PingPong {
        /// Round trips.
        iterations: u64,
    },
    /// perftest's table.
    Table(Vec<(u64, u64)>),
}

impl Expect {
    /// Compares with what a program wrote.
    ///
    /// # Errors
    /// [`Unexpected`], the first.
    pub(super) fn check(&self, output: &str) -> Result<(), Unexpected> {
        match self {
            Self::Lines(texts) => texts.iter().try_for_each(|text| contains(output, text)),
            Self::PingPong { iterations } => {
                let complaints = ["invalid data", "Failed status", "error"];
                let complains = |line: &&str| complaints.iter().any(|complaint| line.contains(complaint));
                if let Some(line) = output.lines().find(complains) {
                    return Err(Unexpected::Forbidden { line: line.to_owned() });
                }
                contains(output, &format!("{iterations} iters in"))
            }
            Self::Table(expected) => {
                let found = rows(output);
                let expected = expected.clone();
                if found == expected { Ok(()) } else { Err(Unexpected::Rows { found, expected }) }
            }
        }
    }
}

/// Rows of perftest for all sizes: powers of two from 2 bytes to 8 MiB.
pub(super) fn all_sizes(iterations: u64) -> Expect {
    Expect::Table((1..=23).map(|power| (1 << power, iterations)).collect())
}

fn contains(output: &str, text: &str) -> Result<(), Unexpected> {
    let found = output.lines().any(|line| line.contains(text));
    if found { Ok(()) } else { Err(Unexpected::Missing { text: text.to_owned() }) }
}

/// Bytes and iterations of the rows of perftest's table: lines of two whole numbers and two figures or more.
fn rows(output: &str) -> Vec<(u64, u64)> {
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let bytes = words.next()?.parse().ok()?;
        let iterations = words.next()?.parse().ok()?;
        let figures: Vec<Option<f64>> = words.map(|word| word.parse().ok()).collect();
        let is_row =
            figures.len() >= 2 && figures.iter().all(|figure| figure.is_some_and(|figure| figure >= 0.0));
        is_row.then_some((bytes, iterations))
    };
    output.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = " #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]\n\
         2       1000          1.52           5.41         1.57              1.58            0.05\n\
         4       1000          1.50           5.25         1.56              1.57            0.06\n\
         ---------------------------------------------------------------------------------------\n";

    #[test]
    fn rows_are_read_from_perftests_table() {
        assert_eq!(Expect::Table(vec![(2, 1000), (4, 1000)]).check(TABLE), Ok(()));
        let error = Expect::Table(vec![(2, 1000)]).check(TABLE).expect_err("one row more");
        assert_eq!(error, Unexpected::Rows { found: vec![(2, 1000), (4, 1000)], expected: vec![(2, 1000)] });
        assert!(all_sizes(5).check(TABLE).is_err());
    }

    #[test]
    fn a_figure_that_is_none_makes_no_row() {
        assert_eq!(rows("2 1000 nan x"), []);
        assert_eq!(rows("2 1000 1.0"), []);
    }

    #[test]
    fn a_ping_pong_tells_of_its_iterations_and_of_nothing_else() {
        let output = "8192000 bytes in 0.01 seconds = 5000.00 Mbit/sec\n1000 iters in 0.01 seconds = 12.00 usec/iter\n";
        assert_eq!(Expect::PingPong { iterations: 1000 }.check(output), Ok(()));
        assert!(Expect::PingPong { iterations: 100_000 }.check(output).is_err());
        let bad = format!("{output}invalid data in page 0\n");
        let error = Expect::PingPong { iterations: 1000 }.check(&bad).expect_err("a complaint");
        assert_eq!(error, Unexpected::Forbidden { line: "invalid data in page 0".to_owned() });
    }

    #[test]
    fn lines_are_searched_for() {
        assert_eq!(Expect::Lines(&["a", "bc"]).check("xax\nbc"), Ok(()));
        assert_eq!(Expect::Lines(&["d"]).check("abc"), Err(Unexpected::Missing { text: "d".to_owned() }));
    }
}

//! What a page says, and where figures lie.

use super::{Axis, Cell, Line, Page, Plot, Scale, Table, axis::Span, number};

fn plot() -> Plot {
    Plot {
        title: "Latency & size".to_owned(),
        across: Axis::bytes("bytes"),
        up: Axis::logarithmic("us"),
        lines: vec![
            Line::new("ours", vec![(8.0, 0.2), (4096.0, 0.5), (0.0, 1.0)]),
            Line::new("<theirs>", vec![(8.0, 0.4)]),
        ],
    }
}

fn page() -> String {
    let mut page = Page::new("A < B");
    page.paragraph("1 & 2");
    page.complaint("no \"peer\"");
    let mut table = Table::new(&["what", "ratio"]);
    table.rows.push(vec!["8 B".into(), Cell::Good("0.50".into())]);
    table.rows.push(vec!["4 KiB".into(), Cell::Bad("2.0".into())]);
    page.table(&table);
    page.plot(&plot());
    page.plot(&plot());
    page.html()
}

#[test]
fn everything_is_on_the_page_and_nothing_is_fetched() {
    let html = page();
    for part in
        ["<title>A &lt; B</title>", "<h1>A &lt; B", "1 &amp; 2", "no &quot;peer&quot;", "<td class=good>0.50"]
    {
        assert!(html.contains(part), "{part} in {html}");
    }
    for part in ["<td class=bad>2.0", "Latency &amp; size", "&lt;theirs&gt;", "prefers-color-scheme:dark"] {
        assert!(html.contains(part), "{part} in {html}");
    }
    for fetched in ["http", "url(", "@import", "<script", "<link", "src="] {
        assert!(!html.contains(fetched), "{fetched} in {html}");
    }
}

#[test]
fn plots_say_what_they_show() {
    let html = page();
    for number in 0..2 {
        let label = format!("aria-labelledby=\"plot{number}t plot{number}d\"");
        assert_eq!(html.matches(&label).count(), 1);
        let title = format!("<title id=plot{number}t>Latency &amp; size</title>");
        assert_eq!(html.matches(&title).count(), 1);
    }
    let text = "us by bytes. ours: 0.20 at 8 B to 1.00 at 0 B; &lt;theirs&gt;: 0.40 at 8 B to 0.40 at 8 B.";
    assert!(html.contains(text), "{html}");
    assert!(html.contains("<tr><td>4 KiB<td>0.50<td>-</tr>"), "{html}");
}

#[test]
fn what_an_axis_does_not_have_is_not_drawn() {
    let figure = plot().html(0).expect("a figure");
    // Two points and the legend; the point at zero has no place on a logarithmic axis.
    assert_eq!(figure.matches("<circle").count(), 3);
    let nothing = Plot { lines: vec![Line::new("none", vec![(0.0, 1.0), (f64::NAN, 2.0)])], ..plot() };
    assert_eq!(nothing.html(0), None);
    let mut page = Page::new("empty");
    page.plot(&nothing);
    assert!(!page.html().contains("<svg"));
}

#[test]
fn every_point_lies_within_its_span() {
    let figures = [1e-3, 0.05, 0.181, 1.0, 7.0, 9.99, 10.0, 123.0, 4096.0, 1e6, 3e9];
    for scale in [Scale::Linear, Scale::Logarithmic, Scale::Bytes] {
        for low in figures {
            for high in figures.into_iter().filter(|high| *high >= low) {
                let span = Span::of(scale, [low, high].into_iter()).expect("a span");
                assert!((2..=60).contains(&span.ticks.len()), "{scale:?} {low}..{high}: {span:?}");
                for figure in [low, high] {
                    let place = span.place(figure).expect("a place");
                    assert!((-1e-6..=1.0 + 1e-6).contains(&place), "{scale:?} {low}..{high}: {place}");
                }
            }
        }
    }
}

#[test]
fn shares_are_spread_by_their_nines() {
    let span = Span::of(Scale::Percentile, [0.0, 0.99, 0.999].into_iter()).expect("a span");
    assert_eq!(span.ticks.len(), 5, "{span:?}");
    let place = |share| span.place(share).expect("a place");
    assert!((place(0.99) - place(0.9) - (place(0.9) - place(0.0))).abs() < 1e-9);
    let texts: Vec<String> = span.ticks.iter().map(|tick| Scale::Percentile.text(*tick)).collect();
    assert_eq!(texts, ["0 %", "50 %", "90 %", "99 %", "99.9 %"]);
    assert_eq!(span.place(1.0), None, "endlessly far");
}

#[test]
fn a_distribution_is_of_the_nearest_rank() {
    let samples: Vec<f64> = (1..=1000).rev().map(f64::from).collect();
    let line = Line::distribution("a", &samples);
    let at = |share| line.points.iter().find(|point| point.0 == share).map(|point| point.1);
    assert_eq!((at(0.0), at(0.5), at(0.99), at(0.995)), (Some(1.0), Some(500.0), Some(990.0), Some(995.0)));
    assert_eq!(line.points.last(), Some(&(0.999, 1000.0)), "one in a thousand is the longest");
    assert!(line.points.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1));
    assert_eq!(Line::distribution("b", &[7.0]).points, [(0.0, 7.0)]);
    assert!(Line::distribution("c", &[]).points.is_empty());
}

#[test]
fn numbers_and_ticks_keep_about_three_digits() {
    let texts = [0.181, 12.34, 18432.1, f64::NAN].map(number);
    assert_eq!(texts, ["0.18", "12.3", "18432", "-"]);
    let logarithmic =
        [0.0, 0.001, 0.05, 0.5, 20.0, 200.0, 5000.0, 2e6].map(|tick| Scale::Logarithmic.text(tick));
    assert_eq!(logarithmic, ["0", "1e-3", "0.05", "0.5", "20", "200", "5 k", "2 M"]);
    let bytes = [8.0, 4096.0, 1536.0, 1_048_576.0].map(|tick| Scale::Bytes.text(tick));
    assert_eq!(bytes, ["8 B", "4 KiB", "1.5 KiB", "1 MiB"]);
}

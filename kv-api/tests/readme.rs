//! The README shows the example that is compiled.

#[test]
fn the_readme_shows_the_compiled_example() {
    let readme = include_str!("../../README.md");
    let example = include_str!("../examples/two_engines.rs");
    let shown = readme.split("```rust\n").nth(1).and_then(|after| after.split("```").next());
    assert_eq!(shown, Some(example));
}

//! Colours and sizes, for light and dark surroundings. The lines' colours are told apart by those who see few of them
//! (Okabe and Ito's palette; lighter ones of the same hues on dark ground).

/// The page's style sheet.
pub(super) const STYLE: &str = "
:root{--ink:#1b1f24;--ground:#fff;--rule:#d8dee4;--quiet:#57606a;--good:#1a7f37;--bad:#b35900;
--line0:#0072b2;--line1:#d55e00;--line2:#007a5a;--line3:#b0508c}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--ground:#0d1117;--rule:#30363d;--quiet:#9aa4af;--good:#4ac26b;
--bad:#f0a35e;--line0:#56b4e9;--line1:#ff9d5c;--line2:#3fd0a4;--line3:#e59ac7}}
body{font:15px/1.5 system-ui,sans-serif;margin:0;color:var(--ink);background:var(--ground)}
main{max-width:62rem;margin:0 auto;padding:1.5rem 1rem 3rem}
h1{font-size:1.5rem;line-height:1.25}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--rule);text-align:right;vertical-align:top}
th{font-weight:600}th:first-child,td:first-child{text-align:left}
.good{color:var(--good)}.bad{color:var(--bad)}
figure{margin:2rem 0 0}figcaption{font-weight:600}
svg{display:block;width:100%;height:auto;margin:.5rem 0}
svg text{fill:var(--ink);font:12px system-ui,sans-serif}
.grid{stroke:var(--rule);fill:none}.axis{fill:var(--quiet)}
.line{fill:none;stroke-width:2}
.c0{stroke:var(--line0)}.c1{stroke:var(--line1)}.c2{stroke:var(--line2)}.c3{stroke:var(--line3)}
.m0{fill:var(--line0)}.m1{fill:var(--line1)}.m2{fill:var(--line2)}.m3{fill:var(--line3)}
summary{cursor:pointer;color:var(--quiet)}
";

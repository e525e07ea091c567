//! The tables, in Markdown.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    results::Results,
    scenario::{Held, SCENARIOS, Scenario, Targets, Work},
    server::{Kind, Memory},
};

/// All tables, and where they come from.
pub(crate) fn tables(results: &Results) -> String {
    let parts = [
        machine(results),
        cpu(results),
        throughput(results),
        memory(results),
        heap(results),
        targets(results),
        instructions(results),
        micro(results),
        skipped(results),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|it| !it.is_empty()).collect();
    parts.join("\n\n")
}

/// Puts the tables between the markers of a file.
pub(crate) fn write(path: &Path, tables: &str) -> Result<()> {
    let shown = path.display();
    let text = fs::read_to_string(path).with_context(|| shown.to_string())?;
    let text = between_markers(&text, tables).with_context(|| format!("no markers in {shown}"))?;
    Ok(fs::write(path, text)?)
}

fn between_markers(text: &str, tables: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{tables}\n{END}{after}"))
}

const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

fn machine(results: &Results) -> String {
    let (machine, cores) = (&results.machine, results.cores);
    let quick = if results.quick { " (quick)" } else { "" };
    format!(
        "{}, {} cores: the server on core {}, the load generator on core {}. Linux {}, {}, \
         Node.js {}, socket.io {}, socketioxide {}. Rounds: {}{quick}.",
        machine.cpu,
        machine.cores,
        cores.server,
        cores.load,
        machine.kernel,
        machine.rustc,
        machine.node,
        machine.socketio_js,
        machine.socketioxide,
        results.rounds,
    )
}

/// The figures to compare.
fn cpu(results: &Results) -> String {
    let mut table = Table::new("");
    for kind in &results.servers {
        table.column(kind.title());
    }
    let peers = [Kind::Oxide, Kind::Node].map(|kind| format!("{} / ours", kind.title()));
    table.column("ours / floor");
    for peer in &peers {
        table.column(peer);
    }
    table.column("above the floor, ours / socketioxide");
    table.column("allocations, ours");
    for scenario in SCENARIOS {
        let of = |kind| {
            let runs = results.measured(scenario, kind);
            Spread::of(runs.iter().map(|it| it.cpu_us))
        };
        let mut cells: Vec<_> = results.servers.iter().map(|&it| of(it)).collect();
        if cells.iter().all(Option::is_none) {
            continue;
        }
        let median = |kind| of(kind).map(|it| it.median);
        let ratio = |a: Option<f64>, b: Option<f64>| Some(format!("{:.2}", a? / b?));
        let above = |kind| Some(median(kind)? - median(Kind::Floor)?);
        let (ours, oxide) = (above(Kind::Ours), above(Kind::Oxide));
        let mut row: Vec<_> = cells.drain(..).map(|it| it.map(|it| it.show())).collect();
        row.push(ratio(median(Kind::Ours), median(Kind::Floor)));
        row.push(ratio(median(Kind::Oxide), median(Kind::Ours)));
        row.push(ratio(median(Kind::Node), median(Kind::Ours)));
        // Of what is on the floor or below it there are no parts.
        row.push(ratio(ours, oxide.filter(|&it| it > 0.0)));
        row.push(results.allocations(scenario).map(|it| format!("{it:.2}")));
        table.row(scenario.title, row);
    }
    table.under(
        "### Server CPU\n\nµs per message, user and system: the median of the rounds, and the \
         least and the most.",
    )
}

fn throughput(results: &Results) -> String {
    let mut table = Table::new("");
    for kind in &results.servers {
        table.column(kind.title());
    }
    for scenario in SCENARIOS {
        let cell = |&kind: &Kind| {
            let runs = results.measured(scenario, kind);
            let per_second = Spread::of(runs.iter().map(|it| it.messages_per_second))?;
            let p50 = Spread::of(runs.iter().map(|it| it.latency_us.p50))?;
            let p99 = Spread::of(runs.iter().map(|it| it.latency_us.p99))?;
            let rss = Spread::of(runs.iter().map(|it| it.rss_kib as f64))?;
            let [per_second, p50, p99] =
                [per_second, p50, p99].map(|it| digits(it.median / 1000.0));
            let rss = mebibytes(rss.median);
            Some(format!("{per_second} k/s, {p50} / {p99} ms, {rss}"))
        };
        let row: Vec<_> = results.servers.iter().map(cell).collect();
        if row.iter().any(Option::is_some) {
            table.row(scenario.title, row);
        }
    }
    table.under(
        "### Throughput, latency, memory\n\nMessages per second on one core; the median and the \
         99th percentile of the time to the answer; RSS at the end.",
    )
}

fn memory(results: &Results) -> String {
    let mut table = Table::new("");
    table.column("");
    memory_columns(&mut table, results);
    table.column("third wave / first");
    for scenario in SCENARIOS {
        for &kind in &results.servers {
            if let Some(held) = results.held(scenario, kind, false) {
                let cells = memory_cells(held, |it| it.rss_kib as f64);
                let kind = Some(kind.title().to_owned());
                let growth = Some(percent(held.growth()));
                let cells = [kind].into_iter().chain(cells).chain([growth]);
                table.row(scenario.title, cells);
            }
        }
    }
    table.under(
        "### Idle connections\n\nThe server's RSS after a few clients have come and gone; what each connection adds \
         to it; the RSS when all have left. Three waves of clients come and go, 100 of them \
         at a time; at the end, how much larger the RSS is in the third one than in the first.",
    )
}

fn heap(results: &Results) -> String {
    let mut table = Table::new("");
    memory_columns(&mut table, results);
    for scenario in SCENARIOS {
        if let Some(held) = results.held(scenario, Kind::Ours, true) {
            let cells = memory_cells(held, |it| it.heap_kib.unwrap_or(f64::NAN));
            table.row(scenario.title, cells);
        }
    }
    table.under("The same for what our server has allocated and not freed:")
}

fn memory_columns(table: &mut Table, results: &Results) {
    let [open, later, left] = results.pauses_s;
    table.column("empty");
    table.column(&format!("each, after {open} s"));
    table.column(&format!("each, after {later} s"));
    table.column(&format!("each, third wave, after {open} s"));
    table.column(&format!("{left} s after the first wave"));
    table.column(&format!("{left} s after the third wave"));
}

fn memory_cells(held: &Held, kib: impl Fn(Memory) -> f64) -> Vec<Option<String>> {
    let each = |memory| {
        let added = kib(memory) - kib(held.before);
        format!("{} KiB", digits(added / held.connections as f64))
    };
    let all = |memory| mebibytes(kib(memory));
    let (Some(first), Some(last)) = (held.waves.first(), held.waves.last()) else {
        return Vec::new();
    };
    let cells = [
        all(held.before),
        each(first.open),
        each(first.later.unwrap_or(first.open)),
        each(last.open),
        all(first.left),
        all(last.left),
    ];
    cells.map(Some).into()
}

/// Whether idle connections of ours weigh as little as they should.
fn targets(results: &Results) -> String {
    let mut table = Table::new("");
    table.column("each, RSS");
    table.column("each, heap");
    table.column("heap left over, of what a wave takes (≤ 2 %)");
    table.column("third wave / first, RSS (≤ 5 %)");
    for scenario in SCENARIOS {
        let Work::Idle(idle) = scenario.work else {
            continue;
        };
        let plain = results.held(scenario, Kind::Ours, false);
        let counting = results.held(scenario, Kind::Ours, true);
        if plain.is_none() && counting.is_none() {
            continue;
        }
        let Targets { rss, heap } = idle.clients.targets();
        let each = |kib: f64, most: Option<f64>| {
            let shown = format!("{} KiB", digits(kib));
            match most {
                Some(most) => format!("{shown} (≤ {most}) {}", mark(kib <= most)),
                None => shown,
            }
        };
        let row = [
            plain.map(|it| each(it.rss_per_connection(), rss)),
            counting
                .and_then(Held::heap_per_connection)
                .map(|kib| each(kib, heap)),
            counting.and_then(Held::heap_left_over).map(|(kib, part)| {
                let shown = percent(part);
                format!("{} KiB, {shown} {}", digits(kib), mark(part <= 0.02))
            }),
            plain.map(|it| {
                let growth = it.growth();
                format!("{} {}", percent(growth), mark(growth <= 0.05))
            }),
        ];
        table.row(scenario.title, row);
    }
    table.under("Whether our server keeps to its targets (✓) or not (✗):")
}

fn mark(holds: bool) -> char {
    if holds { '✓' } else { '✗' }
}

fn instructions(results: &Results) -> String {
    let mut table = Table::new("");
    let servers = results.servers.iter().filter(|&&it| it != Kind::Node);
    for kind in servers.clone() {
        table.column(kind.title());
    }
    for scenario in SCENARIOS {
        let cell = |&kind: &Kind| {
            let mut all = results.instructions.iter();
            let found = all.find(|it| (it.scenario, it.server) == (scenario.name, kind))?;
            Some(digits(found.per_message))
        };
        let row: Vec<_> = servers.clone().map(cell).collect();
        if row.iter().any(Option::is_some) {
            table.row(scenario.title, row);
        }
    }
    table.under(
        "### Instructions\n\nPer message, of the server's program and libraries; what the kernel \
         does for them is not in it.",
    )
}

fn micro(results: &Results) -> String {
    let mut table = Table::new("");
    table.column("ns");
    for micro in &results.micro {
        table.row(&micro.title, [Some(digits(micro.nanoseconds))]);
    }
    table.under("### Single steps of ours\n\nWithout a kernel in the way; medians.")
}

fn skipped(results: &Results) -> String {
    let lines = results.skipped.iter().map(|skipped| {
        let title = title_of(skipped.scenario);
        format!("Not measured here: {title}; {}.", skipped.reason)
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn title_of(name: &'static str) -> &'static str {
    let scenario = SCENARIOS.iter().find(|it| it.name == name);
    scenario.map_or(name, |scenario: &Scenario| scenario.title)
}

/// A table whose first column is text; the others are figures.
struct Table {
    head: String,
    rule: String,
    rows: String,
}

impl Table {
    fn new(first: &str) -> Self {
        Self {
            head: format!("| {first} |"),
            rule: "|---|".into(),
            rows: String::new(),
        }
    }

    fn column(&mut self, title: &str) {
        self.head += &format!(" {title} |");
        self.rule += "--:|";
    }

    fn row(&mut self, first: &str, cells: impl IntoIterator<Item = Option<String>>) {
        self.rows += &format!("| {first} |");
        for cell in cells {
            self.rows += &format!(" {} |", cell.unwrap_or_else(|| "–".into()));
        }
        self.rows += "\n";
    }

    /// The table below its heading; nothing if it has no rows.
    fn under(self, heading: &str) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let Self { head, rule, rows } = self;
        format!("{heading}\n\n{head}\n{rule}\n{}", rows.trim_end())
    }
}

struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let (below, above) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self {
            median: f64::midpoint(below, above),
            least,
            most,
        })
    }

    fn show(&self) -> String {
        let [median, least, most] = [self.median, self.least, self.most].map(digits);
        format!("**{median}** ({least}–{most})")
    }
}

fn percent(part: f64) -> String {
    format!("{:+.1} %", 100.0 * part)
}

fn mebibytes(kib: f64) -> String {
    format!("{} MiB", digits(kib / 1024.0))
}

/// Three digits that count, and all before the point.
fn digits(value: f64) -> String {
    match value.abs() {
        0.0..9.995 => format!("{value:.2}"),
        9.995..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_count() {
        let shown = [0.2249, 3.1, 9.999, 49.96, 99.97, 804.4, 12_345.0].map(digits);
        let expected = ["0.22", "3.10", "10.0", "50.0", "100", "804", "12345"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let spread = Spread::of([4.0, 1.0, 2.0, 3.0].into_iter()).unwrap();
        assert_eq!((spread.least, spread.median, spread.most), (1.0, 2.5, 4.0));
        assert!(Spread::of(std::iter::empty()).is_none());
    }

    #[test]
    fn tables_go_between_the_markers_and_nowhere_else() {
        let text = format!("a\n{BEGIN}\nold\n{END}\nz\n");
        let text = between_markers(&text, "new").unwrap();
        assert_eq!(text, format!("a\n{BEGIN}\nnew\n{END}\nz\n"));
        assert!(between_markers("no markers", "new").is_none());
    }

    #[test]
    fn a_table_without_rows_is_not_shown() {
        let mut table = Table::new("");
        table.column("x");
        assert_eq!(table.under("heading"), "");
    }
}

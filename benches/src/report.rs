//! What is told of a run: on stdout as it is measured, and `BENCHMARKS.md`.

use std::fmt::Write;

use crate::measure::Series;

/// What a ratio is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// There is none: told because it is worth knowing.
    None,
}

impl Goal {
    fn is_met_by(self, figure: f64) -> bool {
        match self {
            Goal::AtLeast(goal) => figure >= goal,
            Goal::AtMost(goal) => figure <= goal,
            Goal::None => true,
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Goal::AtLeast(goal) => format!("≥ {goal}{unit}"),
            Goal::AtMost(goal) => format!("≤ {goal}{unit}"),
            Goal::None => "–".into(),
        }
    }

    /// By the median; a goal that some rounds missed, or some met, is said to be near.
    fn verdict(self, figures: &Series) -> &'static str {
        let every = self.is_met_by(figures.min()) && self.is_met_by(figures.max());
        let some = self.is_met_by(figures.min()) || self.is_met_by(figures.max());
        match (self, self.is_met_by(figures.median())) {
            (Goal::None, _) => "–",
            (_, true) if every => "yes",
            (_, true) => "yes, not in every round",
            (_, false) if some => "no, in some rounds only",
            (_, false) => "**no**",
        }
    }
}

/// One measured claim.
#[derive(Debug, Clone)]
pub struct Line {
    /// What is compared.
    pub what: String,
    /// What it is to be.
    pub goal: Goal,
    /// The ratio, in each round; or, where nothing is compared, the figure itself.
    pub ratio: Series,
    /// `×` for a ratio.
    pub unit: &'static str,
    /// Our own figure.
    pub ours: String,
    /// What it is compared with.
    pub beside: String,
    /// By what it was measured.
    pub by: &'static str,
}

/// A table of any other shape.
#[derive(Debug, Clone)]
pub struct Table {
    /// The names of its columns.
    pub columns: Vec<&'static str>,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}

/// All that one section has to tell.
#[derive(Debug, Clone, Default)]
pub struct Section {
    /// What it is about.
    pub title: &'static str,
    /// How it was measured.
    pub about: String,
    /// What is claimed.
    pub lines: Vec<Line>,
    /// What else there is.
    pub tables: Vec<Table>,
    /// What the reader should bear in mind.
    pub notes: Vec<String>,
}

impl Section {
    /// In Markdown.
    pub fn text(&self) -> String {
        let mut text = format!("## {}\n\n{}\n", self.title, self.about);
        if !self.lines.is_empty() {
            let columns =
                ["", "goal", "measured: median (least to greatest)", "reached", "ours", "beside it", "measured by"];
            let rows = self.lines.iter().map(|line| {
                vec![
                    line.what.clone(),
                    line.goal.text(line.unit),
                    figures(&line.ratio, line.unit),
                    line.goal.verdict(&line.ratio).to_owned(),
                    line.ours.clone(),
                    line.beside.clone(),
                    line.by.to_owned(),
                ]
            });
            text += &Table { columns: columns.to_vec(), rows: rows.collect() }.text();
        }
        for table in &self.tables {
            text += &table.text();
        }
        for note in &self.notes {
            let _ = write!(text, "\n{note}\n");
        }
        text
    }
}

impl Table {
    fn text(&self) -> String {
        let rule: Vec<&str> = self.columns.iter().map(|_| "---").collect();
        let mut text = format!("\n| {} |\n| {} |\n", self.columns.join(" | "), rule.join(" | "));
        for row in &self.rows {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        text
    }
}

/// A whole report.
pub fn report(machine: &[String], load_at_start: &str, load_at_end: &str, sections: &[Section]) -> String {
    let mut text = String::from(
        "# Benchmarks\n\nMade by `benches/run`, which measures everything below beside its rivals in one run. Claims are ratios \
         within this run; absolute figures stand beside them as a note, for they are this machine's. A ratio is taken in each \
         round, ours and the rival's one after the other; its median, least and greatest are told.\n\n",
    );
    for line in machine {
        let _ = writeln!(text, "- {line}");
    }
    let _ = writeln!(
        text,
        "- load average at the start {load_at_start}, at the end {load_at_end} (the run's own included)"
    );
    for section in sections {
        let _ = write!(text, "\n{}", section.text());
    }
    text
}

/// A series in few characters: `63.1 (58.2–66.0) ×`.
pub fn figures(series: &Series, unit: &str) -> String {
    let (median, min, max) = (series.median(), series.min(), series.max());
    format!("{} ({}–{}){unit}", short(median), short(min), short(max))
}

/// Three digits that matter.
pub fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 || size == 0.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 0.1 => format!("{figure:.2}"),
        _ => format!("{figure:.4}"),
    }
}

/// Seconds per something, in microseconds.
pub fn micros(series: &Series) -> String {
    figures(&series.times(1e6), " µs")
}

/// Bytes, in MiB.
pub fn mebibytes(series: &Series) -> String {
    figures(&series.times(1.0 / f64::from(1 << 20)), " MiB")
}

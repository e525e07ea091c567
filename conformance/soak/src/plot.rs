//! A run as a picture.

use std::fmt::Write as _;

use crate::{
    sample::{MIB, Sample},
    verdict::Run,
};

/// Several curves with one axis.
struct Panel {
    title: &'static str,
    curves: Vec<(&'static str, Vec<f64>)>,
    logarithmic: bool,
}

const WIDTH: f64 = 900.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 30.0;
const HEIGHT: f64 = 130.0;
const GAP: f64 = 50.0;
const TOP: f64 = 45.0;
const COLOURS: [&str; 3] = ["#1f5fa8", "#d9822b", "#a33b3b"];

/// The picture, as SVG. Dashed lines are storms.
pub fn svg(run: &Run) -> String {
    let panels = panels(run);
    let height = TOP + panels.len() as f64 * (HEIGHT + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (index, panel) in panels.iter().enumerate() {
        let top = TOP + index as f64 * (HEIGHT + GAP);
        panel.draw(&mut svg, run, top);
    }
    svg + "</svg>\n"
}

fn panels(run: &Run) -> Vec<Panel> {
    let column = |name: &'static str, scale: f64| -> Vec<f64> {
        run.samples.iter().map(|it| it.get(name) / scale).collect()
    };
    // Since the sample before.
    let rate = |of: &dyn Fn(&Sample) -> f64| -> Vec<f64> {
        let pairs = run.samples.windows(2).map(|pair| {
            let time = pair[1].get("seconds") - pair[0].get("seconds");
            (of(&pair[1]) - of(&pair[0])) / time
        });
        let mut rates: Vec<f64> = pairs.collect();
        rates.insert(0, rates.first().copied().unwrap_or(0.0));
        rates
    };
    let linear = |title, curves| Panel {
        title,
        curves,
        logarithmic: false,
    };
    vec![
        linear(
            "Server memory, MiB",
            vec![
                ("RSS", column("rss", MIB)),
                ("live heap", column("heap", MIB)),
            ],
        ),
        linear(
            "Server",
            vec![
                ("descriptors", column("descriptors", 1.0)),
                ("sessions", column("sessions", 1.0)),
                ("tasks", column("tasks", 1.0)),
            ],
        ),
        linear(
            "Messages per second",
            vec![
                ("received", rate(&|it| it.get("received"))),
                ("sent", rate(&|it| it.get("sent"))),
            ],
        ),
        Panel {
            title: "Round trip of the probe, milliseconds",
            curves: vec![
                ("median", column("p50", 1000.0)),
                ("99 %", column("p99", 1000.0)),
                ("longest", column("max", 1000.0)),
            ],
            logarithmic: true,
        },
        linear(
            "Processor time, % of one core",
            vec![
                ("server", rate(&|it| 100.0 * it.get("server_cpu"))),
                ("all clients", rate(&|it| 100.0 * it.get("load_cpu"))),
            ],
        ),
    ]
}

impl Panel {
    fn draw(&self, svg: &mut String, run: &Run, top: f64) {
        let bottom = top + HEIGHT;
        let right = WIDTH - RIGHT;
        let x = |seconds: f64| LEFT + (right - LEFT) * seconds / run.seconds();
        let all = self.curves.iter().flat_map(|(_, values)| values).copied();
        let most = all.fold(0.0, f64::max);
        let ticks = self.ticks(most);
        let (low, high) = (ticks[0], ticks[ticks.len() - 1]);
        let y = |value: f64| {
            let part = match self.logarithmic {
                true => (value.max(low) / low).log10() / (high / low).log10(),
                false => value / high,
            };
            bottom - HEIGHT * part
        };

        let title = self.title;
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{:.0}\" font-weight=\"bold\">{title}</text>",
            top - 10.0
        );
        for tick in &ticks {
            let y = y(*tick);
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
                LEFT - 6.0,
                y + 4.0
            );
        }
        for storm in run.storms() {
            let _ = writeln!(
                svg,
                "<path d=\"M{:.1} {top}V{bottom}\" stroke=\"#999\" stroke-dasharray=\"3 3\"/>",
                x(storm)
            );
        }
        for part in 0..=6 {
            let seconds = run.seconds() * f64::from(part) / 6.0;
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{:.0} min</text>",
                x(seconds),
                bottom + 16.0,
                seconds / 60.0
            );
        }
        for (index, (name, values)) in self.curves.iter().enumerate() {
            let colour = COLOURS[index];
            let points =
                run.samples.iter().zip(values).map(|(sample, value)| {
                    format!("{:.1},{:.1}", x(sample.get("seconds")), y(*value))
                });
            let points: Vec<String> = points.collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\
                 <text x=\"{:.0}\" y=\"{:.0}\" fill=\"{colour}\" text-anchor=\"end\">{name}</text>",
                points.join(" "),
                right - 90.0 * (self.curves.len() - 1 - index) as f64,
                top - 10.0
            );
        }
    }

    /// Round numbers from the lowest to beyond the highest value.
    fn ticks(&self, most: f64) -> Vec<f64> {
        if self.logarithmic {
            let powers = (-1..).map(|it| 10_f64.powi(it));
            let last = 10_f64.powf(most.max(1.0).log10().ceil());
            return powers.take_while(|it| *it <= last * 1.01).collect();
        }
        let most = most.max(1.0);
        let magnitude = 10_f64.powf((most / 4.0).log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|it| it * magnitude);
        let step = steps.into_iter().find(|step| step * 5.0 >= most);
        let step = step.unwrap_or(10.0 * magnitude);
        let count = (most / step).ceil() as usize;
        (0..=count).map(|it| it as f64 * step).collect()
    }
}

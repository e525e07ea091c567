//! Load generator.
mod client;
mod frame;
mod load;
mod reactor;
mod scenario;
mod server;

use std::time::Duration;
fn main() -> anyhow::Result<()> {
    let cores = server::Cores::choose(None, None)?;
    server::raise_descriptors(120_000)?;
    for s in scenario::SCENARIOS {
        if !std::env::args().skip(2).any(|a| a == s.name) {
            continue;
        }
        for kind in server::Kind::ALL {
            if !std::env::args().nth(1).unwrap().contains(kind.key()) {
                continue;
            }
            let server = server::Server::start(kind, false, cores)?;
            if let scenario::Work::Idle(i) = s.work {
                let p = scenario::Pauses {
                    open: Duration::from_secs(1),
                    later: Duration::from_secs(3),
                    left: Duration::from_secs(1),
                };
                println!("{:?}", i.run(&mut [server], p)?);
            } else {
                let mut server = server;
                println!(
                    "{} {:?} {:?}",
                    s.name,
                    kind,
                    s.run(
                        &mut server,
                        load::Timing {
                            warm_up: Duration::from_millis(200),
                            interval: Duration::from_millis(1000)
                        }
                    )?
                );
            }
        }
    }
    Ok(())
}

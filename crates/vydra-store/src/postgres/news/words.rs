//! How news are written in a notification: the node that tells them, and a word for each. Whoever has no ear is nobody, and
//! words of a later version are passed over.

use crate::store::{JobChange, Lane, News, NodeId};
use std::collections::{HashMap, HashSet};
use vydra_core::ids::{JobId, OrgId};

/// Postgres takes less than 8,000 bytes.
const LONGEST: usize = 7_900;
/// How many may wait to be told: beyond it they are lost.
const JOBS: usize = 4_096;
const OPENED: usize = 64;
/// The longest name of a receiver that is told.
const LONGEST_LANE: usize = 512;
/// Of the progress of jobs, all nodes together tell as much as one would alone.
const PROGRESS: usize = 256;

pub(super) const HELLO: &str = "hello";
pub(super) const GOODBYE: &str = "goodbye";
const WORK: &str = "work";
const MAIL: &str = "mail";
const OPEN: &str = "open";
const RUNS: &str = "runs";
const ENDED: &str = "ended";

/// What a node has to tell, each thing once.
#[derive(Debug, Default)]
pub(super) struct Untold {
    work: bool,
    mail: bool,
    opened: HashSet<Lane>,
    jobs: HashMap<JobId, (OrgId, JobChange)>,
    /// How many of them have only come further.
    running: usize,
    lost: u64,
}

impl Untold {
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            work,
            mail,
            opened,
            jobs,
            ..
        } = self;
        !(*work || *mail) && opened.is_empty() && jobs.is_empty()
    }

    /// For so many others.
    pub(super) fn add(&mut self, news: News, others: usize) {
        match news {
            News::Work => self.work = true,
            News::Mail => self.mail = true,
            News::Opened(Lane(name)) => {
                let is_one_word = name.len() <= LONGEST_LANE && !name.contains(char::is_whitespace);
                if is_one_word && self.opened.len() < OPENED {
                    self.opened.insert(Lane(name));
                } else {
                    self.lost += 1;
                }
            }
            News::Job { org, id, change } => self.add_job(org, id, change, others),
            News::Left(_) | News::Missed => {}
        }
    }

    fn add_job(&mut self, org: OrgId, id: JobId, change: JobChange, others: usize) {
        let full = self.jobs.len() >= JOBS;
        match (self.jobs.get_mut(&id), change) {
            (Some(known), JobChange::Ended) => {
                if known.1 == JobChange::Progress {
                    self.running -= 1;
                }
                known.1 = JobChange::Ended;
            }
            (Some(_), JobChange::Progress) => {}
            // What only has come further is of the least use.
            (None, JobChange::Progress) if full || self.running > PROGRESS / (others + 1) => {}
            (None, _) if full => self.lost += 1,
            (None, change) => {
                self.running += usize::from(change == JobChange::Progress);
                self.jobs.insert(id, (org, change));
            }
        }
    }

    /// As few as there can be.
    pub(super) fn payloads(self, from: NodeId) -> Vec<String> {
        if self.lost > 0 {
            tracing::warn!(
                news = self.lost,
                "more happened than other nodes could be told"
            );
        }
        let flags = [(self.work, WORK), (self.mail, MAIL)];
        let flags = flags.into_iter().filter(|(is_set, _)| *is_set);
        let flags = flags.map(|(_, word)| word.to_owned());
        let opened = self.opened.into_iter();
        let opened = opened.map(|Lane(name)| format!("{OPEN}:{name}"));
        let jobs = self.jobs.into_iter().map(|(id, (org, change))| {
            let word = match change {
                JobChange::Progress => RUNS,
                JobChange::Ended => ENDED,
            };
            format!("{word}:{}/{}", org.bare(), id.bare())
        });
        let mut payloads: Vec<String> = Vec::new();
        for word in flags.chain(opened).chain(jobs) {
            match payloads.last_mut() {
                Some(last) if last.len() + 1 + word.len() <= LONGEST => {
                    last.push(' ');
                    last.push_str(&word);
                }
                Some(_) | None => payloads.push(payload(from, &word)),
            }
        }
        payloads
    }
}

pub(super) fn payload(from: NodeId, word: &str) -> String {
    format!("{from} {word}")
}

/// What was said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    News(News),
    Goodbye,
}

/// Who told it, and what.
pub(super) fn read(payload: &str) -> (Option<NodeId>, impl Iterator<Item = Word>) {
    let (from, said) = payload.split_once(' ').unwrap_or((payload, ""));
    (NodeId::parse(from), said.split(' ').filter_map(read_word))
}

fn read_word(word: &str) -> Option<Word> {
    let (name, of) = word.split_once(':').unwrap_or((word, ""));
    let news = match name {
        GOODBYE => return Some(Word::Goodbye),
        WORK => News::Work,
        MAIL => News::Mail,
        OPEN => News::Opened(Lane(of.to_owned())),
        RUNS => read_job(of, JobChange::Progress)?,
        ENDED => read_job(of, JobChange::Ended)?,
        _ => return None,
    };
    Some(Word::News(news))
}

fn read_job(of: &str, change: JobChange) -> Option<News> {
    let (org, id) = of.split_once('/')?;
    Some(News::Job {
        org: OrgId::parse(&format!("{}{org}", OrgId::PREFIX))?,
        id: JobId::parse(&format!("{}{id}", JobId::PREFIX))?,
        change,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vydra_core::time::Timestamp;
    use vydra_testkit::SeededRandom;

    const ME: NodeId = NodeId(0x0bad_f00d);

    fn job(number: u32) -> (OrgId, JobId) {
        let (now, random) = (
            Timestamp::from_micros(1_800_000_000_000_000),
            SeededRandom::new(u64::from(number)),
        );
        (OrgId::new(now, &random), JobId::new(now, &random))
    }

    fn change(number: u32, change: JobChange) -> News {
        let (org, id) = job(number);
        News::Job { org, id, change }
    }

    fn told(news: impl IntoIterator<Item = News>, others: usize) -> Vec<String> {
        let mut untold = Untold::default();
        for one in news {
            untold.add(one, others);
        }
        untold.payloads(ME)
    }

    fn heard(payloads: &[String]) -> Vec<News> {
        payloads
            .iter()
            .flat_map(|payload| {
                let (from, words) = read(payload);
                assert_eq!(from, Some(ME));
                words.collect::<Vec<_>>()
            })
            .map(|word| match word {
                Word::News(news) => news,
                Word::Goodbye => panic!("nobody left"),
            })
            .collect()
    }

    #[test]
    fn what_is_told_several_times_is_heard_once() {
        let lane = Lane("org_a/live/example.com:8443".to_owned());
        let news = [
            News::Work,
            News::Mail,
            News::Opened(lane.clone()),
            News::Work,
            News::Opened(lane.clone()),
            News::Mail,
            change(1, JobChange::Progress),
            change(1, JobChange::Progress),
        ];
        let payloads = told(news, 1);
        assert_eq!(payloads.len(), 1, "{payloads:?}");
        assert_eq!(
            heard(&payloads),
            [
                News::Work,
                News::Mail,
                News::Opened(lane),
                change(1, JobChange::Progress),
            ]
        );
        assert!(Untold::default().is_empty() && told([], 1).is_empty());
    }

    #[test]
    fn an_end_takes_the_place_of_progress_and_is_not_undone_by_it() {
        let (runs, ended) = (change(1, JobChange::Progress), change(1, JobChange::Ended));
        let expected = [ended.clone()];
        for order in [[runs.clone(), ended.clone()], [ended, runs]] {
            assert_eq!(heard(&told(order, 1)), expected);
        }
    }

    #[test]
    fn much_is_told_in_few_payloads_of_which_none_is_too_long() {
        let all = |count| (0..count).map(|number| change(number, JobChange::Ended));
        let payloads = told(all(1_000), 1);
        assert!(payloads.iter().all(|payload| payload.len() < 8_000));
        assert_eq!(payloads.len(), 1_000_usize.div_ceil(131));
        let ends: HashSet<String> = heard(&payloads)
            .into_iter()
            .map(|news| match news {
                News::Job { id, .. } => id.as_str().to_owned(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ends.len(), 1_000);
        let many = u32::try_from(JOBS).unwrap();
        assert_eq!(heard(&told(all(many + 10), 1)).len(), JOBS, "no more wait");
    }

    #[test]
    fn progress_makes_room_for_ends_and_is_less_the_more_nodes_there_are() {
        let progress = |others| {
            let all = (0..1_000).map(|number| change(number, JobChange::Progress));
            heard(&told(all, others)).len()
        };
        assert_eq!((progress(1), progress(255)), (129, 2));
        let mut untold = Untold::default();
        for number in 0..1_000 {
            untold.add(change(number, JobChange::Progress), 1);
            untold.add(change(number, JobChange::Ended), 1);
        }
        assert_eq!(untold.running, 0);
        untold.add(change(1_001, JobChange::Progress), 1);
        assert_eq!(heard(&untold.payloads(ME)).len(), 1_001);
    }

    #[test]
    fn a_receiver_whose_name_is_no_word_is_not_told() {
        for name in ["org_a/live/ex ample", &"x".repeat(LONGEST_LANE + 1)] {
            let payloads = told([News::Opened(Lane(name.to_owned())), News::Mail], 1);
            assert_eq!(heard(&payloads), [News::Mail]);
        }
    }

    #[test]
    fn what_is_not_understood_is_passed_over() {
        for payload in [
            "",
            "0badf00d",
            "work",
            "- later:thing ended:x/y runs",
            "x work",
        ] {
            let (from, mut words) = read(payload);
            if payload == "x work" {
                assert_eq!(words.next(), Some(Word::News(News::Work)));
            }
            assert_eq!(
                (from.filter(|from| *from != ME), words.next()),
                (None, None)
            );
        }
        assert_eq!(NodeId::parse("+badf00d"), None);
        assert_eq!(NodeId::parse(&ME.to_string()), Some(ME));
    }
}

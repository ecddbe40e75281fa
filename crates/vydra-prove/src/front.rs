//! What stands before several servers, as a load balancer does: it looks which of them are ready, and hands requests to them in
//! turn.

use reqwest::Client;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// How often it looks at each; several times in the delay of a server that leaves.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Front {
    places: Vec<Place>,
    next: AtomicUsize,
}

/// At which there is one server after another.
#[derive(Debug)]
struct Place {
    answers: bool,
    url: Mutex<Option<String>>,
    is_ready: AtomicBool,
}

impl Place {
    fn url(&self) -> Option<String> {
        let url = self.url.lock().unwrap_or_else(PoisonError::into_inner);
        url.clone()
    }

    async fn look(&self, client: &Client) {
        let is_ready = match self.url() {
            Some(url) => {
                let asked = client.get(format!("{url}/readyz")).timeout(PATIENCE);
                let answer = asked.send().await;
                // What is at this place by now may be another one.
                answer.is_ok_and(|answer| answer.status() == 200) && self.url() == Some(url)
            }
            None => false,
        };
        self.is_ready.store(is_ready, Ordering::SeqCst);
    }
}

impl Front {
    /// So many places; whether requests are handed to them.
    pub(crate) fn new(answers: impl IntoIterator<Item = bool>) -> Self {
        let place = |answers| Place {
            answers,
            url: Mutex::default(),
            is_ready: AtomicBool::new(false),
        };
        Self {
            places: answers.into_iter().map(place).collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// None for a server that is gone.
    pub(crate) fn put(&self, place: usize, url: Option<&str>) {
        let place = &self.places[place];
        let mut known = place.url.lock().unwrap_or_else(PoisonError::into_inner);
        *known = url.map(str::to_owned);
        place.is_ready.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_ready(&self, place: usize) -> bool {
        self.places[place].is_ready.load(Ordering::SeqCst)
    }

    /// The server that gets the next request; waits while none is ready.
    pub(crate) async fn next(&self) -> String {
        loop {
            for _ in 0..self.places.len() {
                let number = self.next.fetch_add(1, Ordering::Relaxed) % self.places.len();
                let place = &self.places[number];
                if place.answers
                    && self.is_ready(number)
                    && let Some(url) = place.url()
                {
                    return url;
                }
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Looks at one of them, for ever.
    pub(crate) async fn watch(&self, place: usize, client: &Client) {
        loop {
            self.places[place].look(client).await;
            sleep(LOOK_EVERY).await;
        }
    }
}

//! Buying: what every command that costs credits takes, and the way from an input to its results.

use super::failure::Failure;
use super::follow::{self, Interrupt, Progress};
use super::input::{Input, InputArguments, Sent};
use super::keep::{self, Keep, Kept, Place};
use super::{Caller, credits, value};
use crate::config::Span;
use crate::output;
use crate::system::SystemRandom;
use clap::Args;
use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use vydra_client::{Buy, Client, Error, ErrorClass, Job, Quoted};
use vydra_core::random::Random as _;

/// Jobs at once where the plan's limit is not told.
const AT_ONCE: usize = 2;

#[derive(Debug, Clone, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct Purchase {
    #[command(flatten)]
    input: InputArguments,
    /// How many; each is a job of its own
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    count: Option<u16>,
    /// Only tell the price
    #[arg(long)]
    dry_run: bool,
    /// Buy nothing if it costs more than this, all together
    #[arg(long, value_name = "CREDITS")]
    max_credits: Option<u32>,
    /// The same key and input buy once within 24 hours
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Print the job's id and do not wait for it
    #[arg(long, conflicts_with_all = ["output", "open"])]
    no_wait: bool,
    /// How long to wait at most, such as 90s; the job goes on
    #[arg(long, value_name = "DURATION", default_value = "31m")]
    timeout: Span,
    /// Ctrl-C cancels the job, and its credits come back
    #[arg(long)]
    cancel_on_interrupt: bool,
    #[command(flatten)]
    keep: Keep,
    /// Have the server tell this address how the job ends
    #[arg(long, value_name = "URL")]
    webhook_url: Option<String>,
    /// Ask no other provider when the first one fails
    #[arg(long)]
    no_fallback: bool,
    /// With a test key: what shall happen, such as `SLOW=5s`
    #[arg(long, value_name = "OUTCOME")]
    simulate: Option<String>,
    #[command(flatten)]
    pub caller: Caller,
}

/// What is bought.
#[derive(Debug, Clone)]
pub enum Product {
    Workflow(String),
    /// At its path.
    Model(String),
}

/// How far one of several is.
#[derive(Debug, Clone)]
enum State {
    Unsent,
    /// Whether there is a job is not known.
    Sent,
    Running(String),
    /// Its results are being fetched.
    Completed(String),
    Ended,
}

/// One that came to its end: its number, and what came of it.
type Done = (usize, Result<(Job, Vec<Kept>), Failure>);

/// All that buying one needs.
struct Order<'a> {
    client: &'a Client,
    product: &'a Product,
    input: &'a Map<String, Value>,
    place: &'a Place,
    progress: &'a Progress,
    states: &'a RefCell<Vec<State>>,
    done: &'a RefCell<Vec<Done>>,
    /// Nothing more is bought.
    is_stopping: &'a Cell<bool>,
    key: &'a str,
    sent: &'a Sent,
}

impl Purchase {
    pub fn input(&self) -> Result<Input, Failure> {
        self.input.read()
    }

    fn jobs(&self) -> usize {
        self.count.map_or(1, usize::from)
    }

    pub async fn run(&self, product: Product, input: Input) -> Result<(), Failure> {
        if self.dry_run {
            return self.price(&product, input).await;
        }
        let mut interrupt = Interrupt::listen()?;
        let progress = Progress::new(self.jobs(), self.caller.json);
        let client = self.caller.client_beside(&progress)?;
        let place = self.keep.prepare(self.jobs(), self.caller.json)?;
        let ready = async {
            let (input, sent) = input.sent_in(&client, &progress).await?;
            self.check_price(&client, &product, &input).await?;
            Ok::<_, Failure>((input, sent))
        };
        let (input, sent) = tokio::select! {
            ready = ready => ready?,
            () = interrupt.heard() => {
                let sentence = "Interrupted. Nothing was bought.";
                return Err(Failure::interrupted(sentence, Vec::new()));
            }
        };
        let key = self.idempotency_key.clone().unwrap_or_else(random_key);
        let states = RefCell::new(vec![State::Unsent; self.jobs()]);
        let (done, is_stopping) = (RefCell::default(), Cell::new(false));
        let order = Order {
            client: &client,
            product: &product,
            input: &input,
            place: &place,
            progress: &progress,
            states: &states,
            done: &done,
            is_stopping: &is_stopping,
            key: &key,
            sent: &sent,
        };
        let left = {
            let mut all = pin!(self.all(&order));
            let is_over = tokio::select! {
                () = &mut all => true,
                () = interrupt.heard() => false,
            };
            if is_over {
                None
            } else {
                Some(self.leave(&order, all, &mut interrupt).await)
            }
        };
        drop(progress);
        self.tell(done.take(), left)
    }

    /// The price is that of each: no file is sent in for it, and nothing is charged.
    async fn price(&self, product: &Product, input: Input) -> Result<(), Failure> {
        let input = input.with_names_of_files();
        let client = self.caller.client()?;
        let quote = client.quote(product.quoted(), &input).await?;
        let count = i64::from(self.count.unwrap_or(1));
        let all = quote.credits.saturating_mul(count);
        if self.caller.json {
            let mut told = value(&quote)?;
            told["count"] = count.into();
            told["creditsTotal"] = all.into();
            output::json(&told);
        } else if count > 1 {
            output::line(&format!(
                "{}: {count} of {} each",
                credits(all),
                quote.credits
            ));
        } else {
            output::line(&credits(all));
        }
        Ok(())
    }

    /// Several that cost too much are refused as a whole: the server bounds each by itself, whatever this says.
    async fn check_price(
        &self,
        client: &Client,
        product: &Product,
        input: &Map<String, Value>,
    ) -> Result<(), Failure> {
        let (Some(count), Some(most)) = (self.count, self.max_credits) else {
            return Ok(());
        };
        let Ok(quote) = client.quote(product.quoted(), input).await else {
            return Ok(());
        };
        let all = quote.credits.saturating_mul(count.into());
        if all > i64::from(most) {
            return Err(too_dear(all, most));
        }
        Ok(())
    }

    async fn all(&self, order: &Order<'_>) {
        let at_once = if self.jobs() > 1 {
            at_once(order.client).await
        } else {
            1
        };
        let each = (0..self.jobs()).map(|number| self.one(order, number));
        futures_util::stream::iter(each)
            .buffer_unordered(at_once)
            .for_each(|()| std::future::ready(()))
            .await;
    }

    async fn one(&self, order: &Order<'_>, number: usize) {
        if order.is_stopping.get() {
            return;
        }
        let result = self.buy(order, number).await;
        order.state(number, State::Ended);
        order.done.borrow_mut().push((number, result));
    }

    async fn buy(&self, order: &Order<'_>, number: usize) -> Result<(Job, Vec<Kept>), Failure> {
        let (client, progress) = (order.client, order.progress);
        // Each is a purchase of its own.
        let key = if self.jobs() > 1 {
            format!("{}-{}", order.key, number + 1)
        } else {
            order.key.to_owned()
        };
        let buy = Buy {
            idempotency_key: Some(key.clone()),
            max_credits: self.max_credits_of_each(),
            webhook_url: self.webhook_url.clone(),
            simulate: self.simulate.clone(),
            no_fallback: self.no_fallback,
            respond_async: true,
        };
        order.state(number, State::Sent);
        let made = order.product.buy(client, order.input, &buy).await;
        let made = made.map_err(|error| self.of_purchase(error, order))?;
        let id = made.id.clone();
        order.state(number, State::Running(id.clone()));
        if self.no_wait {
            if !self.caller.json {
                progress.aside(|| output::result(&id));
                progress.note(&format!("`vydra jobs watch {id}` waits for it."));
                return Ok((made, Vec::new()));
            }
            // It is bought, whether the server can show it or not.
            let job = client.jobs().get(&id, None).await;
            return Ok((job.unwrap_or(made), Vec::new()));
        }
        let ended = follow::until_ended(client, &id, self.timeout.0, number, progress).await;
        let job = ended.map_err(|failure| failure.of_job(&id))?;
        order.state(number, State::Completed(id));
        let kept = order
            .place
            .keep(client, &job, number + 1, progress, self.caller.json)
            .await?;
        Ok((job, kept))
    }

    /// The server tells its bound as credits that are lacking.
    fn of_purchase(&self, error: Error, order: &Order<'_>) -> Failure {
        let told = error
            .api()
            .filter(|error| error.class() == ErrorClass::PaymentRequired);
        let numbers = told.and_then(|told| Some((told.credits_required?, told.credits_remaining?)));
        match (numbers, self.max_credits) {
            (Some((required, remaining)), Some(most))
                if required <= remaining && self.count.is_none() =>
            {
                too_dear(required, most)
            }
            _ => Failure::of_purchase(error, order.key, order.sent),
        }
    }

    fn max_credits_of_each(&self) -> Option<u64> {
        let all = u64::from(self.max_credits?);
        Some(all / u64::from(self.count.unwrap_or(1)))
    }

    async fn leave(
        &self,
        order: &Order<'_>,
        all: Pin<&mut impl Future<Output = ()>>,
        interrupt: &mut Interrupt,
    ) -> Failure {
        order.progress.message("stopping");
        order.is_stopping.set(true);
        let is_sent = |state: &State| matches!(state, State::Sent);
        if self.cancel_on_interrupt && order.states.borrow().iter().any(is_sent) {
            let note = "Stopping as soon as it is known what was bought; Ctrl-C again does not wait for that.";
            order.progress.note(note);
            // What is just being bought can be cancelled once its id is known. Whoever asks twice does not wait for that.
            tokio::select! {
                () = known(all, order.states) => {}
                () = interrupt.heard() => {}
            }
        }
        let states = order.states.borrow().clone();
        let running = states.iter().filter_map(|state| match state {
            State::Running(id) => Some(id.clone()),
            _ => None,
        });
        let cancels = self.cancel_on_interrupt;
        let failure = follow::leave(order.client, running.collect(), cancels, interrupt).await;
        states.iter().fold(failure, |failure, state| match state {
            State::Sent => failure.advise(format!(
                "One was just being bought: `vydra jobs list` tells, and the same command with --idempotency-key {} buys it once at most.",
                order.key
            )),
            State::Completed(id) => failure.advise(format!(
                "{id} is completed: `vydra jobs watch {id} -o FILE` fetches its results."
            )),
            State::Unsent | State::Running(_) | State::Ended => failure,
        })
    }

    /// One is told as it is; several as a list in their order, with what went wrong. Where they were `left`, that decides.
    fn tell(&self, mut done: Vec<Done>, left: Option<Failure>) -> Result<(), Failure> {
        done.sort_by_key(|(number, _)| *number);
        let mut jobs = Vec::new();
        let mut failures = Vec::from_iter(left);
        for (_, one) in done {
            match one {
                Ok((job, kept)) => jobs.push(keep::told(&job, &kept)?),
                Err(failure) => failures.push(failure),
            }
        }
        if self.caller.json && self.count.is_some() {
            let errors: Vec<Value> = failures.iter().map(Failure::value).collect();
            let told = json!({"count": jobs.len(), "data": jobs, "errors": errors});
            output::result(&told.to_string());
        } else if let (true, Some(job)) = (self.caller.json, jobs.first()) {
            output::result(&job.to_string());
        }
        let mut failures = failures.into_iter();
        let first = failures.next();
        // Of the JSON all of them are on stdout, and one is on stderr.
        for failure in failures.filter(|_| !self.caller.json) {
            failure.tell(false);
        }
        first.map_or(Ok(()), Err)
    }
}

impl Order<'_> {
    fn state(&self, number: usize, state: State) {
        if let Some(of) = self.states.borrow_mut().get_mut(number) {
            *of = state;
        }
    }
}

impl Product {
    pub fn quoted(&self) -> Quoted<'_> {
        match self {
            Self::Workflow(name) => Quoted::Workflow(name),
            Self::Model(path) => Quoted::Model(path),
        }
    }

    /// The job that was made.
    async fn buy(
        &self,
        client: &Client,
        input: &Map<String, Value>,
        buy: &Buy,
    ) -> Result<Job, Error> {
        match self {
            Self::Workflow(name) => client.jobs().create(name, input, buy).await,
            Self::Model(path) => client.models().run(path, input, buy).await,
        }
    }
}

/// Until of none that was sent it is open whether it is bought.
async fn known(mut all: Pin<&mut impl Future<Output = ()>>, states: &RefCell<Vec<State>>) {
    poll_fn(|context| {
        let is_open = |state: &State| matches!(state, State::Sent);
        if states.borrow().iter().any(is_open) && all.as_mut().poll(context).is_pending() {
            // What was polled may just have learned it.
            if states.borrow().iter().any(is_open) {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    })
    .await;
}

/// As many as the plan lets work beside what works already.
async fn at_once(client: &Client) -> usize {
    let Ok(told) = client.rate_limits().await else {
        return AT_ONCE;
    };
    let told = value(&told).unwrap_or_default();
    let number = |place: &Value| {
        place
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
    };
    let used = number(&told["usage"]["concurrent"]["used"]).unwrap_or_default();
    let limit = number(&told["limits"]["concurrent"]);
    limit.map_or(AT_ONCE, |limit| limit.saturating_sub(used).max(1))
}

fn too_dear(price: i64, most: u32) -> Failure {
    let price = credits(price);
    Failure::payment(format!(
        "This costs {price}, more than the {most} of --max-credits. Nothing was bought."
    ))
}

fn random_key() -> String {
    let mut bytes = [0; 16];
    SystemRandom.fill(&mut bytes);
    format!("cli-{:032x}", u128::from_be_bytes(bytes))
}

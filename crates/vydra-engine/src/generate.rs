//! From a request to a job that is paid: model, schema, price, media, one store command.

use crate::inputs::{gone, taken_in};
use crate::jobs::Ended;
use crate::{Caller, Engine, Error, Result, Ticket, simulate};
use serde_json::{Map, Value};
use std::time::Duration;
use vydra_core::catalog::{Answer, InputSchema, Makeup, Priced, Resolved};
use vydra_core::credits::Credits;
use vydra_core::ids::JobId;
use vydra_core::job::{Call, Job, JobStatus};
use vydra_store::store::{NewJob, Submission};

/// How long all the files of one request may take to be read.
const TAKING_IN: Duration = Duration::from_mins(1);
const TOO_SLOW: &str = "The files of the input could not be read within 60 seconds";

/// What a caller asks for, besides the model and the input.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    pub preference: Preference,
    /// The header `X-Vydra-Simulate`.
    pub simulate: Option<&'a str>,
    /// The most that it may cost.
    pub max_credits: Option<Credits>,
    /// Whether nobody but the first of the model's providers may be asked.
    pub no_fallback: bool,
    /// Where the end of the job is told, besides the endpoints of the organization.
    pub webhook_url: Option<&'a str>,
    /// Of a request with an idempotency key, from [`Engine::begin`].
    pub ticket: Option<&'a Ticket>,
}

/// The header `Prefer`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Preference {
    #[default]
    AsTheModelSays,
    RespondAsync,
    Wait(Duration),
}

/// A job that was taken, and what is left of the balance.
#[derive(Debug)]
pub struct Started {
    pub job: Job,
    pub remaining: Credits,
}

impl Engine {
    /// Calls the model at this path. A sync model is waited for; its failure is an error, already refunded.
    pub async fn generate(
        &self,
        caller: &Caller,
        path: &str,
        input: Map<String, Value>,
        asked: Asked<'_>,
    ) -> Result<Started> {
        let (started, answer) = if let Some(job) = asked.ticket.and_then(Ticket::resumes) {
            let started = self.take_over(caller, job).await?;
            let answer = self.answer_to(&started.job.call);
            (started, answer)
        } else {
            let model = self.callable_at(path, caller.mode())?;
            let priced = model.price(input)?;
            let (shown, answer) = (priced.call.input.clone(), priced.answer);
            let wanted = Wanted {
                schema: &model.schema,
                priced,
                shown,
                workflow: None,
            };
            (self.start(caller, wanted, asked).await?, answer)
        };
        let wait = match (asked.preference, answer) {
            (Preference::RespondAsync, _) | (Preference::AsTheModelSays, Answer::Async) => None,
            (Preference::AsTheModelSays, Answer::Sync) => Some(self.settings().sync_wait),
            (Preference::Wait(span), _) => Some(span.min(self.settings().sync_wait)),
        };
        let started = match wait {
            None => started,
            Some(wait) => match self.outcome(caller, &started, wait).await {
                Ok(ended) => ended,
                // The charge stands and the job goes on: to say that nothing happened would make the caller pay twice.
                Err(error) => {
                    tracing::error!(job.id = %started.job.id, error = &error as &dyn std::error::Error, "a job could not be waited for");
                    started
                }
            },
        };
        if started.job.status == JobStatus::Failed {
            return Err(Error::JobFailed(Box::new(started.job)));
        }
        Ok(started)
    }

    /// A job that was taken over is waited for like its model; one whose model is gone, like most.
    fn answer_to(&self, call: &Call) -> Answer {
        self.catalog()
            .model(&call.model)
            .map_or(Answer::Sync, |model| model.answer_to(&call.input))
    }

    /// The job as it ended, or as it stands when the wait is over, with what is left of the balance.
    async fn outcome(&self, caller: &Caller, started: &Started, wait: Duration) -> Result<Started> {
        let Ended { job, waited } = self
            .wait(&caller.organization.id, started.job.clone(), wait)
            .await?;
        let mut remaining = started.remaining;
        if waited && job.refunded > Credits::ZERO {
            let totals = self
                .credit_totals(&caller.organization.id, caller.mode())
                .await?;
            remaining = Credits::new(totals.remaining).unwrap_or_default();
        }
        Ok(Started { job, remaining })
    }

    /// Starts a workflow; never waits.
    pub async fn create_job(
        &self,
        caller: &Caller,
        workflow: &str,
        input: Map<String, Value>,
        asked: Asked<'_>,
    ) -> Result<Started> {
        if let Some(job) = asked.ticket.and_then(Ticket::resumes) {
            return self.take_over(caller, job).await;
        }
        let wanted = self.resolve(caller, workflow, input)?;
        self.start(caller, wanted, asked).await
    }

    /// What a workflow's input comes to.
    pub(crate) fn resolve(
        &self,
        caller: &Caller,
        workflow: &str,
        input: Map<String, Value>,
    ) -> Result<Wanted<'_>> {
        let known = || {
            self.catalog()
                .workflows()
                .iter()
                .map(|workflow| workflow.slug.clone())
                .collect()
        };
        let workflow = self
            .catalog()
            .workflow(workflow)
            .ok_or_else(|| Error::InvalidInput {
                sentence: format!("Unknown workflow: {workflow}"),
                fields: Vec::new(),
                allowed: known(),
            })?;
        let (model, priced) = match workflow.resolve(self.catalog(), input) {
            Resolved::Call { model, priced } => (model, priced),
            Resolved::Invalid(violations) => return Err(violations.into()),
            Resolved::UnknownModel(model) => {
                let models: Vec<&str> = workflow
                    .choices()
                    .iter()
                    .filter_map(|choice| choice.named.as_deref())
                    .collect();
                let hint = format!("{} takes the models: {}", workflow.slug, models.join(", "));
                return Err(Error::ModelNotFound { model, hint });
            }
        };
        self.check_active(model, caller.mode())?;
        for step in &priced.call.steps {
            if let Some(model) = self.catalog().model(&step.model) {
                self.check_active(model, caller.mode())?;
            }
        }
        Ok(Wanted {
            // Of several steps, the files are those of the workflow; each step takes them from there.
            schema: match &workflow.makeup {
                Makeup::Choices(_) => &model.schema,
                Makeup::Steps(_) => &workflow.schema,
            },
            shown: priced.call.input.clone(),
            priced,
            workflow: Some(&workflow.slug),
        })
    }

    /// By the worker of this process, if one works here.
    async fn submit(&self, new: NewJob) -> vydra_store::Result<Submission> {
        if let Some(floor) = self.floor() {
            return floor.submit(new).await;
        }
        let mode = new.mode;
        let submitted = self.store().submit_job(new).await;
        self.submitted(&submitted, mode);
        submitted
    }

    async fn start(
        &self,
        caller: &Caller,
        wanted: Wanted<'_>,
        asked: Asked<'_>,
    ) -> Result<Started> {
        let Wanted {
            schema,
            priced,
            mut shown,
            workflow,
        } = wanted;
        let Priced {
            mut call, price, ..
        } = priced;
        call.no_fallback = asked.no_fallback;
        call.script = simulate::script(caller, asked.simulate, price)?;
        call.pricing.version = self.catalog().price_version().to_owned();
        self.look_at_urls(caller, schema, &mut call.input).await?;
        if let Some(url) = asked.webhook_url {
            self.check_webhook_url(caller, "webhookUrl", url).await?;
        }
        let remaining = caller.organization.credits(caller.mode());
        if let Some(allowed) = asked.max_credits.filter(|allowed| *allowed < price) {
            return Err(Error::TooExpensive {
                required: price,
                remaining,
                allowed,
            });
        }
        // Seen again inside the transaction; here it spares fetching files for a request that cannot be paid.
        if remaining < price {
            return Err(Error::InsufficientCredits {
                required: price,
                remaining,
            });
        }
        if schema
            .media_fields()
            .any(|field| call.input.contains_key(field.name))
        {
            // The same of the room for one more job.
            let open = self
                .store()
                .open_jobs(&caller.organization.id, caller.mode())
                .await?;
            if open >= caller.limits.concurrent {
                return Err(Self::too_many_jobs(caller, open));
            }
        }
        let taking = self.take_in(caller, schema, &mut call.input);
        tokio::time::timeout(TAKING_IN, taking)
            .await
            .map_err(|_late| Error::invalid(TOO_SLOW))??;
        self.hand_on(schema, &shown, &mut call);
        for field in schema.media_fields() {
            if let Some(reference) = call.input.get(field.name) {
                shown.insert(field.name.to_owned(), reference.clone());
            }
        }
        let takes_in = taken_in(schema, &call.input);
        // To say which field it was if one of them is gone by then.
        let named = (!takes_in.is_empty()).then(|| call.input.clone());
        let now = self.now();
        let submission = self
            .submit(NewJob {
                id: JobId::new(now, self.random()),
                org_id: caller.organization.id.clone(),
                key_id: caller.origin_key().cloned(),
                mode: caller.mode(),
                workflow: workflow.map(str::to_owned),
                input: shown,
                call,
                takes_in,
                price,
                webhook_url: asked.webhook_url.map(str::to_owned),
                entry: self.new_entry(),
                concurrent: caller.limits.concurrent,
                idempotency: asked.ticket.map(|ticket| self.remembered(ticket)),
                start_by: now.plus(self.settings().worker.max_wait),
                start: None,
                now,
            })
            .await?;
        match submission {
            Submission::Accepted { job, remaining, .. } => {
                tracing::info!(job.id = %job.id, org.id = %job.org_id, model = %job.call.model, credits = %price, "job accepted");
                Ok(Started {
                    job: *job,
                    remaining,
                })
            }
            Submission::KeyTaken(taken) => self.overtaken(caller, asked.ticket, *taken).await,
            Submission::InsufficientCredits { available } => Err(Error::InsufficientCredits {
                required: price,
                remaining: available,
            }),
            Submission::TooManyJobs { open } => Err(Self::too_many_jobs(caller, open)),
            Submission::InputGone(id) => Err(gone(schema, named.unwrap_or_default(), &id)),
        }
    }
}

pub(crate) struct Wanted<'a> {
    /// Which fields of the input name files.
    schema: &'a InputSchema,
    pub(crate) priced: Priced,
    shown: Map<String, Value>,
    workflow: Option<&'a str>,
}

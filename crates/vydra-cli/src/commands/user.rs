use super::{DataAndOutput, told};
use crate::output;
use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use console::Term;
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal, Read};
use std::process::ExitCode;
use vydra_core::organization::Organization;
use vydra_core::user::{Password, Role, User as Person};
use vydra_engine::NewUserRequest;

/// Longer than any password that is taken, in whatever letters.
const LONGEST_LINE: u64 = 4_096;

#[derive(Debug, Subcommand)]
pub enum User {
    /// Create a user who can log in
    #[command(
        after_help = "Examples:\n  vydra user create --email ada@example.com --org acme\n  vydra user create --email bob@example.com --org acme --role member --json | jq -r .password\n  vydra user create --email eve@example.com --org acme --password-stdin < password.txt\n\nOn a terminal it asks for the password; elsewhere it makes one up and prints it once."
    )]
    Create(Create),
    /// Let a user into one more organization, or give another role there
    #[command(
        after_help = "Example:\n  vydra user add --email ada@example.com --org globex --role member"
    )]
    Add(Add),
    /// List the users of an organization
    List(List),
    /// Give a user a new password, which ends all their sessions
    #[command(
        after_help = "Examples:\n  vydra user set-password --email ada@example.com\n  vydra user set-password --email ada@example.com --password-stdin < password.txt\n\nOn a terminal it asks for the password; elsewhere it makes one up and prints it once."
    )]
    SetPassword(SetPassword),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleWord {
    Owner,
    Member,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Self {
        match word {
            RoleWord::Owner => Self::Owner,
            RoleWord::Member => Self::Member,
        }
    }
}

#[derive(Debug, Args)]
pub struct Create {
    /// What the user logs in with
    #[arg(long)]
    email: String,
    /// Id or name of the organization
    #[arg(long)]
    org: String,
    /// What the user may do there; a member can neither make and end keys nor pay
    #[arg(long, value_enum, default_value = "owner")]
    role: RoleWord,
    #[command(flatten)]
    password: PasswordSource,
    #[command(flatten)]
    data: DataAndOutput,
}

#[derive(Debug, Args)]
pub struct Add {
    /// Of a user who is there already
    #[arg(long)]
    email: String,
    /// Id or name of the organization
    #[arg(long)]
    org: String,
    /// What the user may do there; a member can neither make and end keys nor pay
    #[arg(long, value_enum, default_value = "owner")]
    role: RoleWord,
    #[command(flatten)]
    data: DataAndOutput,
}

#[derive(Debug, Args)]
pub struct List {
    /// Id or name of the organization
    #[arg(long)]
    org: String,
    #[command(flatten)]
    data: DataAndOutput,
}

#[derive(Debug, Args)]
pub struct SetPassword {
    /// What the user logs in with
    #[arg(long)]
    email: String,
    #[command(flatten)]
    password: PasswordSource,
    #[command(flatten)]
    data: DataAndOutput,
}

#[derive(Debug, Args)]
struct PasswordSource {
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
}

impl PasswordSource {
    /// None where nobody is there to be asked.
    fn read(&self) -> anyhow::Result<Option<Password>> {
        if self.password_stdin {
            let mut line = String::new();
            std::io::stdin()
                .lock()
                .take(LONGEST_LINE)
                .read_line(&mut line)
                .context("the password could not be read")?;
            let password = line.trim_end_matches(['\r', '\n']);
            return Ok(Some(Password::new(password.to_owned())));
        }
        if !std::io::stdin().is_terminal() {
            return Ok(None);
        }
        let terminal = Term::stderr();
        let ask = |question: &str| -> anyhow::Result<String> {
            terminal.write_str(question)?;
            let answer = terminal.read_secure_line();
            answer.context("the password could not be read")
        };
        let password = ask(&format!("Password ({}): ", Password::RULE))?;
        if ask("Once more: ")? != password {
            bail!("the two passwords differ; nothing was changed");
        }
        Ok(Some(Password::new(password)))
    }
}

impl User {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create(command) => command.run().await,
            Self::Add(command) => command.run().await,
            Self::List(command) => command.run().await,
            Self::SetPassword(command) => command.run().await,
        }
    }
}

fn describe(user: &Person) -> Value {
    json!({
        "id": user.id,
        "email": user.email,
        "createdAt": user.created_at,
        "updatedAt": user.updated_at,
    })
}

fn describe_member(user: &Person, role: Role, organization: &Organization) -> Value {
    let mut value = describe(user);
    value["role"] = json!(role);
    value["organization"] = json!({"id": organization.id, "name": organization.name});
    value
}

fn show_made_up(password: Option<&Password>) {
    if let Some(password) = password {
        output::line(&format!("  password  {}", password.reveal()));
        output::line("  This is the only time that it is shown.");
    }
}

impl Create {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let engine = self.data.open_existing().await?;
        let organization = engine.find_organization(&self.org).await.map_err(told)?;
        let role = self.role.into();
        let new = NewUserRequest {
            email: self.email,
            password: self.password.read()?,
            organization: organization.id.clone(),
            role,
        };
        let created = engine.create_user(new).await.map_err(told)?;
        if self.data.json {
            let mut value = describe_member(&created.user, role, &organization);
            if let Some(password) = &created.password {
                value["password"] = json!(password.reveal());
            }
            output::json(&value);
        } else {
            let user = &created.user;
            output::line(&format!("{}  {}", user.id, user.email));
            output::line(&format!("  {} of {}", role.as_str(), organization.name));
            show_made_up(created.password.as_ref());
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Add {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let engine = self.data.open_existing().await?;
        let organization = engine.find_organization(&self.org).await.map_err(told)?;
        let role = self.role.into();
        let user = engine
            .add_member(&self.email, &organization, role)
            .await
            .map_err(told)?;
        if self.data.json {
            output::json(&describe_member(&user, role, &organization));
        } else {
            output::line(&format!(
                "{} is {} of {} now.",
                user.email,
                role.as_str(),
                organization.name
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let engine = self.data.open_existing().await?;
        let organization = engine.find_organization(&self.org).await.map_err(told)?;
        let members = engine.members(&organization.id).await.map_err(told)?;
        if self.data.json {
            let data: Vec<Value> = members
                .iter()
                .map(|(user, role)| describe_member(user, *role, &organization))
                .collect();
            output::json(&json!({"data": data, "count": data.len()}));
        } else if members.is_empty() {
            output::line(&format!(
                "{} has no users yet: vydra user create --email EMAIL --org {}",
                organization.name, organization.name
            ));
        } else {
            let rows: Vec<Vec<String>> = members
                .into_iter()
                .map(|(user, role)| {
                    vec![
                        user.id.to_string(),
                        user.email,
                        role.as_str().to_owned(),
                        user.created_at.to_string(),
                    ]
                })
                .collect();
            output::table(&["ID", "EMAIL", "ROLE", "CREATED"], &rows);
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl SetPassword {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let engine = self.data.open_existing().await?;
        let password = self.password.read()?;
        let changed = engine
            .set_password(&self.email, password)
            .await
            .map_err(told)?;
        if self.data.json {
            let mut value = describe(&changed.user);
            if let Some(password) = &changed.password {
                value["password"] = json!(password.reveal());
            }
            output::json(&value);
        } else {
            output::line(&format!(
                "{} has a new password, and is logged out everywhere.",
                changed.user.email
            ));
            show_made_up(changed.password.as_ref());
        }
        Ok(ExitCode::SUCCESS)
    }
}

use crate::asset::MediaKind;
use crate::catalog::{Catalog, DEFAULT, Priced, Resolved};
use crate::job::Action;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const PICTURE: &str = "https://example.com/a.png";

/// Two pictures, the second from the first, and a film of both.
const STAGES: &str = r#"
[[workflows]]
slug = "stages"
name = "Stages"
description = "d"
credits = 30
example_input = { theme = "a barn" }
[workflows.input_schema]
type = "object"
required = ["theme"]
[workflows.input_schema.properties]
theme = { type = "string", minLength = 1, maxLength = 9990 }
mood = { type = "string" }
ratio = { type = "string", default = "16:9", enum = ["16:9", "1:1"] }
seconds = { type = "integer", minimum = 1, maximum = 9 }
photo = { type = "string", x-media = "image" }
photos = { type = "array", items = { type = "string" }, x-media = "image" }
clip = { type = "string", x-media = "video" }
[[workflows.steps]]
name = "plot"
model = "gemini-image"
given = "photo"
input = { prompt = "A plot for {{theme}}, {{mood|calm}}", aspectRatio = "{{ratio}}" }
[[workflows.steps]]
name = "frame"
model = "gemini-edit"
input = { prompt = "{{theme}}", imageUrl = "{{steps.plot}}" }
[[workflows.steps]]
name = "film"
model = "timelapse-film"
input = { imageUrls = ["{{steps.plot}}", "{{steps.frame}}"], seconds = "{{seconds}}" }
"#;

fn load(own: &str) -> Result<Catalog, String> {
    Catalog::load([("shipped", DEFAULT), ("mine.toml", own)]).map_err(|error| error.to_string())
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else {
        panic!("{value}");
    };
    object
}

fn resolve(catalog: &Catalog, slug: &str, input: Value) -> Priced {
    let workflow = catalog.workflow(slug).unwrap();
    match workflow.resolve(catalog, object(input)) {
        Resolved::Call { priced, .. } => priced,
        other => panic!("{other:?}"),
    }
}

fn refusal(own: &str, input: Value) -> Vec<String> {
    let catalog = load(own).unwrap();
    match catalog
        .workflow("stages")
        .unwrap()
        .resolve(&catalog, object(input))
    {
        Resolved::Invalid(violations) => violations
            .fields
            .iter()
            .map(|problem| format!("{}|{}|{}", problem.field, problem.problem, problem.expected))
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn names(priced: &Priced) -> Vec<&str> {
    priced
        .call
        .steps
        .iter()
        .map(|step| step.name.as_str())
        .collect()
}

#[test]
fn each_step_is_a_call_whose_input_is_made_of_the_jobs() {
    let catalog = load(STAGES).unwrap();
    let priced = resolve(
        &catalog,
        "stages",
        json!({"theme": "a {{mood}} barn", "seconds": 3}),
    );
    let steps: Vec<Value> = priced
        .call
        .steps
        .iter()
        .map(|step| json!([step.name, step.model, step.input, step.needs]))
        .collect();
    assert_eq!(
        json!(steps),
        json!([
            ["plot", "gemini-image", {"prompt": "A plot for a {{mood}} barn, calm", "aspectRatio": "16:9"}, []],
            ["frame", "gemini-edit", {"imageUrl": "step:plot", "prompt": "a {{mood}} barn"}, ["plot"]],
            ["film", "timelapse-film", {"imageUrls": ["step:plot", "step:frame"], "seconds": 3}, ["plot", "frame"]],
        ])
    );
    let actions: Vec<Action> = priced.call.steps.iter().map(|step| step.action).collect();
    assert_eq!(actions, [Action::Generate, Action::Edit, Action::Generate]);
    // Of the whole: what the last step makes, from what the caller said.
    assert_eq!(priced.call.model, "timelapse-film");
    assert_eq!(
        (priced.call.kind, priced.call.outputs),
        (MediaKind::Video, 1)
    );
    assert_eq!(
        Value::Object(priced.call.input),
        json!({"theme": "a {{mood}} barn", "seconds": 3, "ratio": "16:9"})
    );
}

#[test]
fn a_file_that_is_given_takes_the_place_of_its_step() {
    let catalog = load(STAGES).unwrap();
    let priced = resolve(&catalog, "stages", json!({"theme": "t", "photo": PICTURE}));
    assert_eq!(names(&priced), ["frame", "film"]);
    let [frame, film] = &priced.call.steps[..] else {
        panic!();
    };
    assert_eq!(frame.input["imageUrl"], PICTURE);
    assert!(frame.needs.is_empty());
    assert_eq!(film.input["imageUrls"], json!([PICTURE, "step:frame"]));
    assert_eq!(film.needs, ["frame"]);
    assert_eq!(priced.price.get(), 30);
}

#[test]
fn what_only_a_spared_step_needs_is_spared_too() {
    let own = STAGES
        .replace("given = \"photo\"\n", "")
        .replace(
            "name = \"frame\"\n",
            "name = \"frame\"\ngiven = \"photo\"\n",
        )
        .replace(
            "[\"{{steps.plot}}\", \"{{steps.frame}}\"]",
            "[\"{{steps.frame}}\", \"{{steps.frame}}\"]",
        );
    let catalog = load(&own).unwrap();
    let input = json!({"theme": "t", "photo": PICTURE});
    assert_eq!(names(&resolve(&catalog, "stages", input)), ["film"]);
}

#[test]
fn a_price_is_one_for_all_or_the_sum() {
    let catalog = load(STAGES).unwrap();
    let priced = resolve(&catalog, "stages", json!({"theme": "t"}));
    let [line] = &priced.call.pricing.lines[..] else {
        panic!("{:?}", priced.call.pricing);
    };
    assert_eq!(
        (line.item.as_str(), line.pricing_unit.as_str()),
        ("Stages", "job")
    );
    assert_eq!(
        (line.units, line.credits.get(), priced.price.get()),
        (1, 30, 30)
    );

    let summed = STAGES.replace("credits = 30\n", "");
    let catalog = load(&summed).unwrap();
    for (input, price, lines) in [
        (json!({"theme": "t"}), 15, 3),
        (json!({"theme": "t", "photo": PICTURE}), 10, 2),
    ] {
        let priced = resolve(&catalog, "stages", input);
        assert_eq!(priced.price.get(), price);
        let each = priced.call.pricing.lines.iter();
        assert_eq!(each.map(|line| line.credits.get()).sum::<i64>(), price);
        assert_eq!(priced.call.pricing.lines.len(), lines);
    }
}

#[test]
fn the_price_version_follows_what_a_workflow_costs() {
    let version = |own: &str| load(own).unwrap().price_version().to_owned();
    let now = version(STAGES);
    let words = STAGES.replace("A plot for", "An empty plot for");
    assert_eq!(version(&words), now);
    assert_ne!(
        version(&STAGES.replace("credits = 30", "credits = 31")),
        now
    );
    let summed = STAGES.replace("credits = 30\n", "");
    assert_ne!(version(&summed), now);
    // Of a sum, the models decide; of one price, they do not.
    let other = |own: &str| own.replacen("model = \"gemini-edit\"", "model = \"nano-banana\"", 1);
    assert_eq!(version(&other(STAGES)), now);
    assert_ne!(version(&other(&summed)), version(&summed));
    assert_eq!(
        version(&summed.replace("A plot for", "A bare plot for")),
        version(&summed)
    );
}

#[test]
fn a_refusal_of_a_model_is_told_of_the_callers_fields() {
    let long = "x".repeat(9_990);
    assert_eq!(
        refusal(STAGES, json!({"theme": long})),
        ["theme|too long|at most 10000 characters in prompt of the step plot, which shows it"]
    );
    assert_eq!(
        refusal(STAGES, json!({"theme": "t", "seconds": 9})),
        ["seconds|too large|at most 5"]
    );
    assert_eq!(refusal(STAGES, json!({})), ["theme|missing|string"]);
    assert_eq!(
        refusal(
            &STAGES
                .replace("minLength = 1, ", "")
                .replace("\"{{theme}}\", im", "\"{{theme|t}}\", im"),
            json!({"theme": "t", "photo": 5})
        ),
        ["photo|wrong type|string"]
    );
}

#[test]
fn what_could_not_run_is_refused_with_its_place_and_reason() {
    let rows: &[(&str, &str, &str)] = &[
        (
            "model = \"gemini-edit\"",
            "model = \"gone\"",
            "step frame: there is no model gone",
        ),
        (
            "imageUrl = \"{{steps.plot}}\"",
            "image = \"x\"",
            "step frame: model gemini-edit has no field image",
        ),
        (
            ", imageUrl = \"{{steps.plot}}\"",
            "",
            "step frame: model gemini-edit needs imageUrl",
        ),
        (
            "imageUrl = \"{{steps.plot}}\"",
            "imageUrl = \"{{steps.roof}}\"",
            "step frame: imageUrl: there is no step roof",
        ),
        (
            "imageUrl = \"{{steps.plot}}\"",
            "imageUrl = \"{{steps.frame}}\"",
            "for itself",
        ),
        (
            "imageUrl = \"{{steps.plot}}\"",
            "imageUrl = \"{{steps.film}}\"",
            "step frame: imageUrl: it takes image, not video",
        ),
        (
            "imageUrl = \"{{steps.plot}}\"",
            "imageUrl = \"https://example.com/x.png\"",
            "imageUrl: it takes a file",
        ),
        (
            "imageUrl = \"{{steps.plot}}\"",
            "imageUrl = \"{{photo}}\"",
            "photo may be absent",
        ),
        (
            "imageUrl = \"{{steps.plot}}\"",
            "imageUrl = \"{{photo|x}}\"",
            "words cannot stand for the file photo",
        ),
        (
            "imageUrl = \"{{steps.plot}}\"",
            "imageUrl = \"{{theme}}\"",
            "theme is none",
        ),
        (
            "imageUrl = \"{{steps.plot}}\"",
            "imageUrl = \"{{photos}}\"",
            "it takes string, and photos is array",
        ),
        (
            "imageUrls = [\"{{steps.plot}}\", \"{{steps.frame}}\"]",
            "imageUrls = \"{{steps.frame}}\"",
            "it takes a list of files",
        ),
        (
            "imageUrls = [\"{{steps.plot}}\", \"{{steps.frame}}\"]",
            "imageUrls = [\"{{steps.frame}}\", \"{{clip}}\"]",
            "it takes image, not video",
        ),
        (
            "imageUrls = [\"{{steps.plot}}\", \"{{steps.frame}}\"]",
            "imageUrls = [\"{{steps.plot}}\", \"{{steps.plot}}\"]",
            "step frame: no other step takes what it makes",
        ),
        (
            "imageUrls = [\"{{steps.plot}}\", \"{{steps.frame}}\"]",
            "imageUrls = [\"{{steps.frame}}\"]",
            "at least 2 items",
        ),
        (
            "prompt = \"{{theme}}\"",
            "prompt = \"{{colour}}\"",
            "prompt: the input schema has no field colour",
        ),
        (
            "prompt = \"{{theme}}\"",
            "prompt = \"in {{colour}}\"",
            "prompt: the input schema has no field colour",
        ),
        (
            "prompt = \"{{theme}}\"",
            "prompt = \"{{mood}}\"",
            "mood may be absent",
        ),
        (
            "prompt = \"{{theme}}\"",
            "prompt = \"a {{mood}} day\"",
            "mood may be absent",
        ),
        (
            "prompt = \"{{theme}}\"",
            "prompt = \"{{photo}}\"",
            "it takes no file",
        ),
        (
            "prompt = \"{{theme}}\"",
            "prompt = \"{{steps.plot}}\"",
            "it takes no file, and step plot makes one",
        ),
        (
            "prompt = \"{{theme}}\"",
            "prompt = \"see {{photos}}\"",
            "photos is one",
        ),
        (
            "prompt = \"{{theme}}\"",
            "prompt = \"{{seconds|2}}\"",
            "only for a text can other words stand",
        ),
        (
            "prompt = \"{{theme}}\"",
            "prompt = [\"{{theme}}\"]",
            "it takes string, not a list",
        ),
        (
            "prompt = \"{{theme}}\"",
            "prompt = \"{{theme\"",
            "step frame: prompt: \"{{theme\" has {{ without }}",
        ),
        (
            "minLength = 1, maxLength",
            "maxLength",
            "theme may be empty",
        ),
        (
            "seconds = \"{{seconds}}\"",
            "seconds = \"{{theme}}\"",
            "it takes number, and theme is string",
        ),
        (
            "seconds = \"{{seconds}}\"",
            "seconds = \"{{seconds}} s\"",
            "it takes number, not a text",
        ),
        ("seconds = \"{{seconds}}\"", "seconds = 99", "at most 5"),
        (
            "given = \"photo\"",
            "given = \"photos\"",
            "not one image of the input",
        ),
        (
            "given = \"photo\"",
            "given = \"clip\"",
            "not one image of the input",
        ),
        (
            "given = \"photo\"",
            "given = \"theme\"",
            "not one image of the input",
        ),
        (
            "name = \"film\"",
            "name = \"film\"\ngiven = \"clip\"",
            "the last step has no given",
        ),
        (
            "name = \"frame\"",
            "name = \"plot\"",
            "step plot: there are two of this name",
        ),
        (
            "name = \"frame\"",
            "name = \"The frame\"",
            "step The frame: ",
        ),
        ("name = \"frame\"", "name = \"a.b\"", "no dots"),
        ("credits = 30", "credits = 0", "credits must be at least 1"),
        (
            "credits = 30",
            "choices = [{ model = \"veo3\" }]",
            "either choices or steps",
        ),
        (
            "{ theme = \"a barn\" }",
            "{ }",
            "its example_input: Missing required field: theme",
        ),
        (
            "model = \"gemini-edit\"",
            "colour = 1\nmodel = \"gemini-edit\"",
            "colour",
        ),
    ];
    for (from, to, reason) in rows {
        assert!(STAGES.contains(from), "{from}");
        let told = load(&STAGES.replace(from, to)).expect_err(to);
        assert!(told.contains(reason), "{to}: {told}");
        assert!(told.contains("mine.toml"), "{to}: {told}");
        if !matches!(*reason, "colour") {
            assert!(told.contains("workflow stages: "), "{to}: {told}");
        }
    }
    let routeless = DEFAULT.replace(
        "routes = [{ provider = \"local\", model = \"timelapse-film\" }]\n",
        "",
    );
    let told = Catalog::load([("shipped", routeless.as_str())]).unwrap_err();
    let reason = "workflow house-timelapse: step film: model timelapse-film has no route";
    assert!(told.to_string().contains(reason), "{told}");
    let choices = "[[workflows]]\nslug = \"w\"\nname = \"w\"\ndescription = \"\"\ncredits = 3\ninput_schema = { properties = {} }\nchoices = [{ model = \"veo3\" }]";
    assert!(
        load(choices)
            .unwrap_err()
            .contains("credits is for a workflow of steps")
    );
}

#[test]
fn a_step_before_the_last_makes_one_file_of_a_fixed_kind() {
    let with = |input: &str| {
        let model = "model = \"gemini-edit\"\ninput = { prompt = \"{{theme}}\", imageUrl = \"{{steps.plot}}\" }";
        assert!(STAGES.contains(model));
        load(&STAGES.replace(model, input))
    };
    let flux = |count: &str| {
        format!(
            "model = \"flux-edit\"\ninput = {{ prompt = \"p\", imageUrl = \"{{{{steps.plot}}}}\"{count} }}"
        )
    };
    with(&flux("")).unwrap();
    with(&flux(", numImages = 1")).unwrap();
    for count in [", numImages = 2", ", numImages = \"{{seconds}}\""] {
        let told = with(&flux(count)).unwrap_err();
        assert!(told.contains("only the last step may"), "{told}");
    }
    let grok = |what: &str| format!("model = \"grok-imagine\"\ninput = {{ prompt = \"p\"{what} }}");
    let plot = |own: String| {
        let model = "model = \"gemini-image\"\ngiven = \"photo\"\ninput = { prompt = \"A plot for {{theme}}, {{mood|calm}}\", aspectRatio = \"{{ratio}}\" }";
        assert!(STAGES.contains(model));
        load(&STAGES.replace(model, &own))
    };
    plot(grok(", model = \"text-to-image\"")).unwrap();
    let told = plot(grok("")).unwrap_err();
    assert!(told.contains("takes image, not video"), "{told}");
    let told = plot(grok(", model = \"{{theme}}\"")).unwrap_err();
    assert!(told.contains("so that it must be fixed"), "{told}");
}

#[test]
fn steps_wait_for_one_another_in_whatever_order_they_stand() {
    let (head, steps) = STAGES.split_once("[[workflows.steps]]").unwrap();
    let steps: Vec<&str> = steps.split("[[workflows.steps]]").collect();
    let order = |places: [usize; 3]| {
        let all = places.map(|place| format!("[[workflows.steps]]{}\n", steps[place]));
        load(&format!("{head}{}", all.concat()))
    };
    let catalog = order([1, 0, 2]).unwrap();
    assert_eq!(
        names(&resolve(&catalog, "stages", json!({"theme": "t"}))),
        ["frame", "plot", "film"]
    );
    // The last one is the result: nothing follows it.
    assert!(
        order([0, 2, 1])
            .unwrap_err()
            .contains("step film: no other step takes what it makes")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Nothing that a caller says makes a step wait for another, take a file or show another field.
    #[test]
    fn words_of_a_caller_change_words_only(words in "(\\{\\{|\\}\\}|steps\\.plot|step:plot|asset:|mood|\\||[a-z ]|\\PC){1,12}") {
        let catalog = load(STAGES).unwrap();
        let plain = resolve(&catalog, "stages", json!({"theme": "t", "mood": "grim"}));
        let odd = resolve(&catalog, "stages", json!({"theme": words, "mood": "grim"}));
        for (plain, odd) in plain.call.steps.iter().zip(&odd.call.steps) {
            prop_assert_eq!(&plain.needs, &odd.needs);
            for (name, value) in &plain.input {
                if name != "prompt" {
                    prop_assert_eq!(value, &odd.input[name]);
                }
            }
        }
        prop_assert_eq!(&odd.call.steps[0].input["prompt"], &json!(format!("A plot for {words}, grim")));
        prop_assert_eq!(&odd.call.steps[1].input["prompt"], &json!(words));
    }
}

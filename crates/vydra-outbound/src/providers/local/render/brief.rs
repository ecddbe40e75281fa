//! What a prompt asks for, read with a plain list of words.

use super::colour::{Lch, Rgb, hex, lch};
use super::noise::{Rng, hash};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Mountains,
    Sea,
    Forest,
    Desert,
    City,
    Meadow,
    Garden,
    Cosmos,
    Flow,
    Geometry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hour {
    Dawn,
    Day,
    Sunset,
    Night,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Cat,
    Dog,
    Fox,
    Rabbit,
    Bear,
    Owl,
    Bird,
    Horse,
    Deer,
    Whale,
    Person,
    House,
    Lighthouse,
    Boat,
    Balloon,
    Tree,
    Rocket,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trait {
    Rain,
    Snow,
    Fog,
    Storm,
    Clouds,
    Autumn,
    Spring,
    Water,
    Moon,
    Sun,
    Stars,
    Aurora,
    Rainbow,
    Fireflies,
    Birds,
    Neon,
    Watercolour,
    Minimal,
    Pixel,
    Mono,
    Vintage,
    Pastel,
    Vivid,
    Sketch,
    Rose,
    Tulip,
    Daisy,
    Sunflower,
    Poppy,
}

#[derive(Clone, Copy)]
enum Word {
    Place(Place),
    Hour(Hour),
    Subject(Subject),
    Trait(Trait),
    Colour(u32),
}

pub struct Brief {
    /// Seed and prompt in one: equal pairs give equal pictures.
    pub seed: u64,
    pub place: Place,
    pub hour: Hour,
    pub subjects: Vec<Subject>,
    pub traits: Vec<Trait>,
    pub colours: Vec<Lch>,
    /// The colour of the animal, if the prompt names one.
    pub coat: Option<Rgb>,
    /// True when the picture only dresses up a given one.
    pub overlay: bool,
    directed: bool,
    /// Whether the prompt itself names the hour.
    timed: bool,
}

impl Brief {
    pub fn of(prompt: &str, seed: u64) -> Self {
        let prompt: String = prompt
            .chars()
            .take(4_000)
            .collect::<String>()
            .to_lowercase();
        let mixed = Rng::new(seed, hash(prompt.trim())).next();
        let mut brief = Self {
            seed: mixed,
            place: Place::Mountains,
            hour: Hour::Day,
            subjects: Vec::new(),
            traits: Vec::new(),
            colours: Vec::new(),
            coat: None,
            overlay: false,
            directed: false,
            timed: false,
        };
        let (mut place, mut hour) = (None, None);
        // A colour belongs to the animal it stands before: "a white cat".
        let mut last_colour: Option<(usize, u32)> = None;
        let words = prompt.split(|c: char| !c.is_alphanumeric());
        for (position, word) in words.filter(|word| !word.is_empty()).enumerate() {
            for meaning in meanings(word) {
                match meaning {
                    Word::Place(found) => place = place.or(Some(found)),
                    Word::Hour(found) => hour = hour.or(Some(found)),
                    Word::Subject(found) if !brief.subjects.contains(&found) => {
                        let near = last_colour.filter(|(at, _)| position - at <= 2);
                        if let (Some((_, colour)), true, None) =
                            (near, found.is_animal(), brief.coat)
                        {
                            brief.coat = Some(hex(colour));
                            brief.colours.pop();
                        }
                        brief.subjects.push(found);
                    }
                    Word::Trait(found) if !brief.has(found) => brief.traits.push(found),
                    Word::Colour(found) => {
                        brief.colours.push(lch(hex(found)));
                        last_colour = Some((position, found));
                    }
                    Word::Subject(_) | Word::Trait(_) => {}
                }
            }
        }
        brief.timed = hour.is_some();
        brief.directed = hour.is_some()
            || place.is_some()
            || !brief.traits.is_empty()
            || !brief.colours.is_empty();
        let mut rng = Rng::new(mixed, 1);
        brief.place = place.unwrap_or_else(|| brief.usual_place(&mut rng));
        brief.hour = hour.unwrap_or_else(|| brief.usual_hour(&mut rng));
        brief.colours.truncate(3);
        brief.subjects.truncate(3);
        brief
    }

    pub fn has(&self, wanted: Trait) -> bool {
        self.traits.contains(&wanted)
    }

    pub fn any(&self, wanted: &[Trait]) -> bool {
        wanted.iter().any(|wanted| self.has(*wanted))
    }

    /// Whether the prompt says anything about light, colour or air.
    pub fn has_direction(&self) -> bool {
        self.directed
    }

    pub fn asks_for_night(&self) -> bool {
        self.timed && self.hour == Hour::Night
    }

    pub fn rng(&self, stream: u64) -> Rng {
        Rng::new(self.seed, stream)
    }

    fn usual_place(&self, rng: &mut Rng) -> Place {
        use Subject as S;
        if let Some(subject) = self.subjects.first() {
            let choice: &[Place] = match subject {
                S::Whale | S::Boat | S::Lighthouse => &[Place::Sea],
                S::Rocket => &[Place::Cosmos],
                S::Fox | S::Bear | S::Deer | S::Owl => &[Place::Forest, Place::Mountains],
                S::House | S::Tree | S::Rabbit | S::Dog | S::Horse | S::Cat => {
                    &[Place::Meadow, Place::Mountains]
                }
                S::Balloon | S::Person | S::Bird => &[Place::Mountains, Place::Meadow],
            };
            return choice[rng.below(choice.len())];
        }
        if self.has(Trait::Aurora) {
            return Place::Mountains;
        }
        if self.has(Trait::Neon) {
            return Place::City;
        }
        if self.has(Trait::Water) {
            return Place::Sea;
        }
        let choice = [
            Place::Mountains,
            Place::Mountains,
            Place::Sea,
            Place::Meadow,
            Place::Desert,
            Place::Forest,
            Place::Cosmos,
            Place::Flow,
            Place::Geometry,
        ];
        choice[rng.below(choice.len())]
    }

    fn usual_hour(&self, rng: &mut Rng) -> Hour {
        if self.any(&[
            Trait::Moon,
            Trait::Stars,
            Trait::Aurora,
            Trait::Fireflies,
            Trait::Neon,
        ]) {
            return Hour::Night;
        }
        let paper = self.any(&[Trait::Watercolour, Trait::Sketch, Trait::Pastel]);
        let choice: &[Hour] = match self.place {
            _ if paper => &[Hour::Day, Hour::Dawn, Hour::Sunset],
            Place::City => &[Hour::Night, Hour::Night, Hour::Sunset],
            Place::Garden | Place::Desert => &[Hour::Day, Hour::Dawn, Hour::Sunset],
            _ => &[
                Hour::Sunset,
                Hour::Dawn,
                Hour::Day,
                Hour::Sunset,
                Hour::Night,
            ],
        };
        choice[rng.below(choice.len())]
    }
}

/// The list knows base forms; common endings are taken off when the word itself is unknown.
fn meanings(word: &str) -> Vec<Word> {
    let find = |word: &str| -> Vec<Word> {
        WORDS
            .iter()
            .filter(|(words, _)| words.split(' ').any(|known| known == word))
            .map(|(_, meaning)| *meaning)
            .collect()
    };
    if word.len() < 2 {
        return Vec::new();
    }
    [
        Some(word),
        word.strip_suffix('s'),
        word.strip_suffix("es"),
        word.strip_suffix("ing"),
        word.strip_suffix('y'),
    ]
    .into_iter()
    .flatten()
    .map(find)
    .find(|found| !found.is_empty())
    .unwrap_or_default()
}

impl Subject {
    pub fn is_animal(self) -> bool {
        matches!(
            self,
            S::Cat
                | S::Dog
                | S::Fox
                | S::Rabbit
                | S::Bear
                | S::Owl
                | S::Bird
                | S::Horse
                | S::Deer
                | S::Whale
        )
    }
}

use Hour as H;
use Place as P;
use Subject as S;
use Trait as T;

const WORDS: &[(&str, Word)] = &[
    (
        "mountain alps alpine peak summit hill valley canyon cliff volcano lake fjord glacier iceland norway switzerland landscape nature berg berge montagne montaña",
        Word::Place(P::Mountains),
    ),
    (
        "sea ocean beach coast wave island surf harbor harbour bay tropical lagoon meer strand mar mer underwater",
        Word::Place(P::Sea),
    ),
    (
        "forest wood woods woodland jungle pine pines trees treeline taiga rainforest wald forêt bosque grove",
        Word::Place(P::Forest),
    ),
    (
        "desert dune sahara sand cactus arabia egypt pyramid mars wüste",
        Word::Place(P::Desert),
    ),
    (
        "city skyline street downtown urban skyscraper tokyo york manhattan metropolis cyberpunk building apartment town traffic car cars taxi stadt ciudad ville office bridge",
        Word::Place(P::City),
    ),
    (
        "meadow field prairie countryside farm pasture grassland village barn vineyard tuscany rural picnic feld",
        Word::Place(P::Meadow),
    ),
    (
        "flower garden rose tulip bloom blossom bouquet floral daisy sunflower lily orchid poppy poppies daisies peony lotus petal botanical blume blumen fleur butterfly bee",
        Word::Place(P::Garden),
    ),
    (
        "space galaxy nebula planet cosmos cosmic universe saturn jupiter asteroid comet astronaut orbit interstellar spaceship alien star-field weltraum earth supernova",
        Word::Place(P::Cosmos),
    ),
    (
        "abstract flow fluid swirl silk smoke energy music dream dreamlike texture wallpaper gradient liquid aurora-like marble hypnotic fractal psychedelic wave-form",
        Word::Place(P::Flow),
    ),
    (
        "geometric geometry bauhaus shape shapes circle triangle square poster logo icon pattern mosaic cubist kandinsky mondrian grid modernist art-deco deco",
        Word::Place(P::Geometry),
    ),
    (
        "sunset dusk evening twilight golden-hour sundown abend sonnenuntergang",
        Word::Hour(H::Sunset),
    ),
    (
        "night midnight nocturnal dark nighttime nacht noche nuit",
        Word::Hour(H::Night),
    ),
    ("dawn sunrise morning daybreak morgen", Word::Hour(H::Dawn)),
    (
        "day noon daylight daytime midday bright sunny summer",
        Word::Hour(H::Day),
    ),
    (
        "cat kitten kitty siamese tabby feline katze gato chat tiger lion panther leopard",
        Word::Subject(S::Cat),
    ),
    (
        "dog puppy corgi labrador retriever hound poodle pup hund perro chien wolf husky",
        Word::Subject(S::Dog),
    ),
    ("fox vixen fuchs renard zorro", Word::Subject(S::Fox)),
    ("rabbit bunny hare hase kaninchen", Word::Subject(S::Rabbit)),
    (
        "bear panda otter beaver hamster hedgehog koala grizzly teddy bär raccoon",
        Word::Subject(S::Bear),
    ),
    ("owl eule", Word::Subject(S::Owl)),
    (
        "bird eagle raven crow parrot sparrow robin seagull heron crane falcon vogel hummingbird penguin",
        Word::Subject(S::Bird),
    ),
    (
        "horse pony stallion unicorn pferd zebra",
        Word::Subject(S::Horse),
    ),
    (
        "deer stag elk moose reindeer antelope hirsch",
        Word::Subject(S::Deer),
    ),
    ("whale dolphin orca fish shark wal", Word::Subject(S::Whale)),
    (
        "person man woman girl boy portrait hiker wanderer traveler traveller people lady gentleman child samurai monk knight warrior wizard princess king queen hero mann frau face model couple human silhouette",
        Word::Subject(S::Person),
    ),
    (
        "house cabin cottage hut home chalet villa architecture castle church temple haus mansion",
        Word::Subject(S::House),
    ),
    ("lighthouse leuchtturm", Word::Subject(S::Lighthouse)),
    (
        "boat ship sailboat sail sailing yacht vessel boot schiff canoe pirate",
        Word::Subject(S::Boat),
    ),
    ("balloon airship zeppelin", Word::Subject(S::Balloon)),
    (
        "tree oak maple baum willow bonsai birch",
        Word::Subject(S::Tree),
    ),
    ("rocket shuttle launch rakete", Word::Subject(S::Rocket)),
    (
        "rain rainy drizzle shower downpour regen",
        Word::Trait(T::Rain),
    ),
    (
        "snow snowy winter ice icy frost frozen christmas blizzard arctic snowfall schnee cold nordic",
        Word::Trait(T::Snow),
    ),
    (
        "fog foggy mist misty haze hazy smoke nebel mystical mysterious",
        Word::Trait(T::Fog),
    ),
    (
        "storm stormy thunder lightning tempest dramatic",
        Word::Trait(T::Storm),
    ),
    ("cloud cloudy overcast wolken", Word::Trait(T::Clouds)),
    (
        "autumn fall foliage october november halloween herbst pumpkin",
        Word::Trait(T::Autumn),
    ),
    (
        "spring april may cherry sakura easter frühling",
        Word::Trait(T::Spring),
    ),
    (
        "water river reflection pond waterfall stream lake fjord harbor harbour lagoon see lac",
        Word::Trait(T::Water),
    ),
    (
        "moon moonlight lunar moonlit crescent mond",
        Word::Trait(T::Moon),
    ),
    ("sun sunlight sunshine sonne", Word::Trait(T::Sun)),
    (
        "star starry stars milky constellation sterne",
        Word::Trait(T::Stars),
    ),
    ("aurora borealis northern", Word::Trait(T::Aurora)),
    ("rainbow regenbogen", Word::Trait(T::Rainbow)),
    (
        "firefly fireflies magic magical fairy enchanted glowing sparkle",
        Word::Trait(T::Fireflies),
    ),
    ("flock birds seagulls", Word::Trait(T::Birds)),
    (
        "neon cyberpunk synthwave vaporwave retrowave cyber futuristic scifi",
        Word::Trait(T::Neon),
    ),
    (
        "watercolor watercolour aquarell painting painted oil impressionist gouache brush",
        Word::Trait(T::Watercolour),
    ),
    (
        "minimal minimalist minimalistic simple flat clean zen vector",
        Word::Trait(T::Minimal),
    ),
    (
        "pixel pixelart 8bit 8-bit 16bit voxel",
        Word::Trait(T::Pixel),
    ),
    (
        "monochrome noir grayscale greyscale blackandwhite",
        Word::Trait(T::Mono),
    ),
    (
        "vintage retro film analog polaroid nostalgic old sepia 1970s 70s",
        Word::Trait(T::Vintage),
    ),
    (
        "pastel soft gentle dreamy cute kawaii delicate",
        Word::Trait(T::Pastel),
    ),
    (
        "vivid vibrant colorful colourful saturated bold",
        Word::Trait(T::Vivid),
    ),
    (
        "sketch drawing pencil ink lineart charcoal engraving",
        Word::Trait(T::Sketch),
    ),
    ("rose peony carnation camellia", Word::Trait(T::Rose)),
    ("tulip crocus lily lotus", Word::Trait(T::Tulip)),
    ("daisy chamomile aster daisies", Word::Trait(T::Daisy)),
    ("sunflower", Word::Trait(T::Sunflower)),
    ("poppy poppies anemone orchid", Word::Trait(T::Poppy)),
    (
        "red crimson scarlet ruby rot rojo rouge",
        Word::Colour(0xd4_2a2f),
    ),
    ("orange tangerine amber", Word::Colour(0xf0_8424)),
    ("gold golden", Word::Colour(0xe3_a92b)),
    ("yellow lemon gelb", Word::Colour(0xf2_d43a)),
    ("lime", Word::Colour(0x9a_d632)),
    ("green emerald grün verde vert", Word::Colour(0x2f_9e4f)),
    ("teal turquoise", Word::Colour(0x1f_9e9a)),
    ("cyan aqua", Word::Colour(0x28_c0dc)),
    (
        "blue azure cobalt blau azul bleu sapphire",
        Word::Colour(0x26_62d0),
    ),
    ("navy indigo", Word::Colour(0x34_3fa0)),
    (
        "violet purple lavender lila amethyst",
        Word::Colour(0x85_4fd0),
    ),
    ("magenta fuchsia", Word::Colour(0xd0_36a8)),
    ("pink rosa", Word::Colour(0xee_6fa4)),
    ("brown chocolate bronze copper", Word::Colour(0x96_5a32)),
    ("grey gray silver", Word::Colour(0x8a_8a8c)),
    ("white ivory", Word::Colour(0xf2_efe8)),
    ("black", Word::Colour(0x1c_1c22)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_understood() {
        let brief = Brief::of("Two FOXES in a red, snowy forest at night!", 1);
        assert_eq!(brief.place, Place::Forest);
        assert_eq!(brief.hour, Hour::Night);
        assert_eq!(brief.subjects, [Subject::Fox]);
        assert!(brief.has(Trait::Snow));
        assert_eq!(brief.colours.len(), 1);
    }

    #[test]
    fn any_text_has_a_brief() {
        for prompt in [
            "",
            "   ",
            "日本語のプロンプト",
            "\0\u{202e}",
            &"x ".repeat(9_000),
        ] {
            let brief = Brief::of(prompt, 5);
            assert!(brief.subjects.is_empty());
        }
    }

    #[test]
    fn a_colour_before_an_animal_is_its_coat() {
        let brief = Brief::of("a white siamese cat under a purple sky", 1);
        assert!(brief.coat.is_some());
        assert_eq!(brief.colours.len(), 1);
    }
}

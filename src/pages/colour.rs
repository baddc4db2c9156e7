//! Colours of a theme, and the contrast that people need to read (WCAG 2.2, sections 1.4.3 and 1.4.11).

use std::fmt;

/// The least contrast of text.
pub const TEXT: f64 = 4.5;

/// A colour of sRGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour([u8; 3]);

/// Black.
pub const BLACK: Colour = Colour([0; 3]);
/// White.
pub const WHITE: Colour = Colour([255; 3]);

impl Colour {
    /// Creates a colour of `0xrrggbb`.
    pub const fn of(rgb: u32) -> Self {
        let [_, red, green, blue] = rgb.to_be_bytes();
        Self([red, green, blue])
    }

    /// Reads `#rrggbb`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#')?;
        let is_hex = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex
            .then(|| u32::from_str_radix(digits, 16).ok().map(Self::of))
            .flatten()
    }

    /// Returns the relative luminance, from 0 (black) to 1 (white).
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|channel| {
            let share = f64::from(channel) / 255.0;
            if share <= 0.04045 {
                share / 12.92
            } else {
                ((share + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// Returns the contrast of two colours, from 1 to 21.
    pub fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance(), other.luminance());
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    }

    /// Returns black or white, whichever is easier to read on this colour. Its contrast is at least [`TEXT`].
    pub fn text(self) -> Self {
        if self.contrast(BLACK) > self.contrast(WHITE) {
            BLACK
        } else {
            WHITE
        }
    }

    /// Returns the colour, mixed with the text colour of `background` until it is readable on it.
    pub fn readable_on(self, background: Self) -> Self {
        let towards = background.text();
        let is_readable = |colour: &Self| colour.contrast(background) >= TEXT;
        (0..=STEPS)
            .map(|step| self.mixed(towards, step))
            .find(is_readable)
            .unwrap_or(towards)
    }

    /// Returns the colour with `step` of [`STEPS`] parts of another.
    fn mixed(self, other: Self, step: u16) -> Self {
        let mix = |own: u8, other: u8| {
            let sum = u16::from(own) * (STEPS - step) + u16::from(other) * step;
            u8::try_from(sum / STEPS).unwrap_or(u8::MAX)
        };
        Self(std::array::from_fn(|channel| {
            mix(self.0[channel], other.0[channel])
        }))
    }
}

const STEPS: u16 = 32;

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_colour_has_six_digits() {
        assert_eq!(
            Colour::parse("#1a2B3c").map(|it| it.to_string()).as_deref(),
            Some("#1a2b3c")
        );
        for text in [
            "",
            "#",
            "#fff",
            "1a2b3c",
            "#1a2b3",
            "#1a2b3cd",
            "#+a2b3c",
            "#1a2b3g",
            "red",
            "#1a2b3c;}",
        ] {
            assert_eq!(Colour::parse(text), None, "{text}");
        }
    }

    #[test]
    fn contrast_is_that_of_the_guideline() {
        assert!((BLACK.contrast(WHITE) - 21.0).abs() < 1e-9);
        // The example of the guideline's techniques: the lightest grey that passes on white.
        assert!(Colour::of(0x76_76_76).contrast(WHITE) >= TEXT);
        assert!(Colour::of(0x77_77_77).contrast(WHITE) < TEXT);
    }

    proptest! {
        #[test]
        fn any_colour_is_made_readable(rgb in 0_u32..=0xff_ff_ff) {
            let colour = Colour::of(rgb);
            prop_assert!(colour.text().contrast(colour) >= TEXT);
            for background in [WHITE, Colour::of(0xf4_f5_f7), BLACK, Colour::of(0x1c_1f_26)] {
                let readable = colour.readable_on(background);
                prop_assert!(readable.contrast(background) >= TEXT, "{colour} {readable} {background}");
            }
        }
    }
}

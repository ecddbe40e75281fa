//! Anti-aliased shapes: exact area coverage, summed up row by row.

use super::cutout::Cutout;

pub type Point = (f32, f32);

/// A union of shapes within a box.
pub struct Outline {
    pub width: usize,
    pub height: usize,
    sums: Vec<f32>,
    /// First and last touched column, then row.
    reach: ([f32; 2], [f32; 2]),
}

impl Outline {
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            sums: vec![0.0; (width + 2) * height],
            reach: ([f32::MAX, f32::MIN], [f32::MAX, f32::MIN]),
        }
    }

    /// Coverage of the union, row by row.
    pub fn cover(&self) -> Vec<u8> {
        let mut cover = vec![0; self.width * self.height];
        for (out, sums) in cover
            .chunks_exact_mut(self.width.max(1))
            .zip(self.sums.chunks_exact(self.width + 2))
        {
            let mut sum = 0.0_f32;
            for (out, step) in out.iter_mut().zip(sums) {
                sum += step;
                *out = (sum.abs().min(1.0) * 255.0 + 0.5) as u8;
            }
        }
        cover
    }

    /// The union as a layer no larger than it has to be: most shapes fill a corner of the box they are drawn in.
    pub fn cut(&self) -> Cutout {
        let ([left, right], [top, bottom]) = self.reach;
        let clip = |value: f32, limit: usize| (value.max(0.0) as usize).min(limit);
        let (left, top) = (clip(left, self.width), clip(top, self.height));
        let width = clip(right.ceil(), self.width).saturating_sub(left).max(1);
        let height = clip(bottom.ceil(), self.height).saturating_sub(top).max(1);
        let mut cover = vec![0; width * height];
        for (out, sums) in cover
            .chunks_exact_mut(width)
            .zip(self.sums.chunks_exact(self.width + 2).skip(top))
        {
            let mut sum: f32 = 0.0;
            for (out, step) in out.iter_mut().zip(&sums[left..]) {
                sum += step;
                *out = (sum.abs().min(1.0) * 255.0 + 0.5) as u8;
            }
        }
        let mut cutout = Cutout::new(width, height, cover);
        cutout.left = left as f32;
        cutout.top = top as f32;
        cutout
    }

    pub fn polygon(&mut self, points: &[Point]) {
        let closed = || {
            points
                .iter()
                .zip(points.iter().cycle().skip(1))
                .take(points.len())
        };
        // All shapes turn the same way round, so that overlaps add up instead of cancelling out.
        let area: f32 = closed().map(|(a, b)| a.0 * b.1 - b.0 * a.1).sum();
        for (a, b) in closed() {
            if area >= 0.0 {
                self.edge(*a, *b);
            } else {
                self.edge(*b, *a);
            }
        }
    }

    /// A smooth closed curve through the points.
    pub fn curve(&mut self, points: &[Point]) {
        self.polygon(&smooth(points));
    }

    pub fn ellipse(&mut self, centre: Point, radii: Point) {
        let count = ((radii.0.max(radii.1)).sqrt() * 6.0).clamp(12.0, 160.0) as usize;
        let points: Vec<Point> = (0..count)
            .map(|i| {
                let (sin, cos) = (i as f32 / count as f32 * std::f32::consts::TAU).sin_cos();
                (centre.0 + cos * radii.0, centre.1 + sin * radii.1)
            })
            .collect();
        self.polygon(&points);
    }

    pub fn rectangle(&mut self, left: f32, top: f32, right: f32, bottom: f32) {
        self.polygon(&[(left, top), (right, top), (right, bottom), (left, bottom)]);
    }

    /// A limb: two circles and everything between them.
    pub fn limb(&mut self, a: Point, ra: f32, b: Point, rb: f32) {
        self.ellipse(a, (ra, ra));
        self.ellipse(b, (rb, rb));
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let length = dx.hypot(dy);
        if length <= (ra - rb).abs() {
            return;
        }
        // The tangents lean when the circles differ.
        let lean = (ra - rb) / length;
        let across = (1.0 - lean * lean).sqrt();
        let (ux, uy) = (dx / length, dy / length);
        let side = |sign: f32, centre: Point, radius: f32| {
            (
                centre.0 + radius * (ux * lean - uy * across * sign),
                centre.1 + radius * (uy * lean + ux * across * sign),
            )
        };
        self.polygon(&[
            side(1.0, a, ra),
            side(1.0, b, rb),
            side(-1.0, b, rb),
            side(-1.0, a, ra),
        ]);
    }

    /// A line of changing width through the points.
    pub fn stroke(&mut self, points: &[Point], from: f32, to: f32) {
        let count = points.len().max(2) as f32 - 1.0;
        for (i, pair) in points.windows(2).enumerate() {
            let radius = |i: f32| from + (to - from) * i / count;
            self.limb(pair[0], radius(i as f32), pair[1], radius(i as f32 + 1.0));
        }
    }

    fn edge(&mut self, a: Point, b: Point) {
        let (turn, top, bottom) = if a.1 < b.1 { (1.0, a, b) } else { (-1.0, b, a) };
        if bottom.1 <= 0.0 || bottom.1 - top.1 < 1e-6 {
            return;
        }
        let (columns, rows) = &mut self.reach;
        *columns = [columns[0].min(a.0.min(b.0)), columns[1].max(a.0.max(b.0))];
        *rows = [rows[0].min(top.1), rows[1].max(bottom.1)];
        let slope = (bottom.0 - top.0) / (bottom.1 - top.1);
        let mut x = top.0 - top.1.min(0.0) * slope;
        let stride = self.width + 2;
        let limit = self.width as f32;
        let end = (bottom.1.ceil() as usize).min(self.height);
        for row in (top.1.max(0.0) as usize)..end {
            let dy = ((row + 1) as f32).min(bottom.1) - (row as f32).max(top.1);
            let next = x + slope * dy;
            let (left, right) = if x < next { (x, next) } else { (next, x) };
            let (left, right) = (left.clamp(0.0, limit), right.clamp(0.0, limit));
            span(
                &mut self.sums[row * stride..][..stride],
                left,
                right,
                dy * turn,
            );
            x = next;
        }
    }
}

/// Spreads the height `d` of an edge that runs from `left` to `right` within one row.
fn span(sums: &mut [f32], left: f32, right: f32, d: f32) {
    let first = left as usize;
    let last = right.ceil() as usize;
    if last <= first + 1 {
        let part = (left + right) * 0.5 - first as f32;
        sums[first] += d * (1.0 - part);
        sums[first + 1] += d * part;
        return;
    }
    // Coverage of a cell is what the edge leaves to its right; the sums hold the steps between neighbours' coverage.
    let slope = d / (right - left);
    let mut before = 0.0;
    for (cell, sum) in sums.iter_mut().enumerate().take(last + 1).skip(first) {
        let from = (cell as f32 - left).max(0.0);
        let to = ((cell + 1) as f32).min(right) - left;
        let beyond = ((cell + 1) as f32 - right).clamp(0.0, 1.0);
        // Mean height of the edge over the part of the cell it crosses, and its full height after that.
        let crossed = slope * (from + to) * 0.5 * (to - from).max(0.0);
        let cover = crossed + d * beyond;
        *sum += cover - before;
        before = cover;
    }
}

/// Catmull-Rom through the points, closed.
pub fn smooth(points: &[Point]) -> Vec<Point> {
    const STEPS: usize = 10;
    let count = points.len();
    let mut curve = Vec::with_capacity(count * STEPS);
    for i in 0..count {
        let [p0, p1, p2, p3] = [count - 1, 0, 1, 2].map(|k| points[(i + k) % count]);
        for step in 0..STEPS {
            let t = step as f32 / STEPS as f32;
            let at = |a: f32, b: f32, c: f32, d: f32| {
                0.5 * (2.0 * b
                    + (c - a) * t
                    + (2.0 * a - 5.0 * b + 4.0 * c - d) * t * t
                    + (3.0 * b - a - 3.0 * c + d) * t * t * t)
            };
            curve.push((at(p0.0, p1.0, p2.0, p3.0), at(p0.1, p1.1, p2.1, p3.1)));
        }
    }
    curve
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(outline: &Outline) -> f32 {
        outline.cover().iter().map(|c| f32::from(*c) / 255.0).sum()
    }

    #[test]
    fn areas_are_exact() {
        let mut outline = Outline::new(64, 64);
        outline.polygon(&[(3.3, 5.2), (60.7, 9.1), (31.0, 58.6)]);
        let exact = ((60.7 - 3.3) * (58.6 - 5.2) - (31.0 - 3.3) * (9.1 - 5.2)) / 2.0_f32;
        assert!((area(&outline) - exact).abs() < 2.0, "{}", area(&outline));
    }

    #[test]
    fn overlaps_are_a_union_whatever_the_direction() {
        let mut outline = Outline::new(40, 40);
        outline.rectangle(5.0, 5.0, 25.0, 25.0);
        outline.polygon(&[(15.0, 15.0), (15.0, 35.0), (35.0, 35.0), (35.0, 15.0)]);
        assert!((area(&outline) - 700.0).abs() < 0.5, "{}", area(&outline));
    }

    #[test]
    fn shapes_reaching_outside_are_cut() {
        let mut outline = Outline::new(20, 20);
        outline.ellipse((0.0, 10.0), (400.0, 400.0));
        assert!((area(&outline) - 400.0).abs() < 1.0);
    }
}

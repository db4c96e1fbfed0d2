//! Draws a series as one line of blocks.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// At most `width` blocks, scaled from zero to the highest point. Unknown points are gaps. Of points that share a block the
/// highest is drawn.
pub fn spark(points: &[Option<f64>], width: usize) -> String {
    let most = points.iter().flatten().copied().fold(0.0, f64::max);
    let block = |part: &[Option<f64>]| {
        let value = part.iter().flatten().copied().reduce(f64::max);
        value.map_or(' ', |value| {
            let height = if most > 0.0 { (value / most * 7.0).round().clamp(0.0, 7.0) } else { 0.0 };
            BLOCKS[height as usize]
        })
    };
    let width = width.clamp(1, points.len().max(1));
    let edge = |column: usize| column * points.len() / width;
    (0..width).map(|column| block(&points[edge(column)..edge(column + 1)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_follow_the_points() {
        let points = [Some(0.0), Some(1.0), None, Some(7.0), Some(3.0)];
        assert_eq!(spark(&points, 5), "▁▂ █▄");
        assert_eq!(spark(&points, 99), "▁▂ █▄");
        assert_eq!(spark(&points, 2), "▂█", "the highest of those that share a block");
        assert_eq!(spark(&[Some(0.0), Some(0.0)], 2), "▁▁");
        assert_eq!(spark(&[None], 3), " ");
        assert_eq!(spark(&[], 3), " ");
    }
}

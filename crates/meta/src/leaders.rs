//! Which replica of each shard is its preferred leader: the first one.

/// The first replica of a shard passes leadership on. Nodes and shards are named by position.
#[derive(Clone, Copy)]
struct Handover {
    shard: usize,
    from: usize,
    to: usize,
}

/// Reorders the replicas of each shard until no chain of handovers can make the nodes' numbers of led shards more
/// even, and returns the difference of the largest and the smallest number.
pub(crate) fn even_out(placed: &mut [Vec<usize>], node_count: usize) -> usize {
    loop {
        let led = led(placed, node_count);
        let Some(chain) = chain(placed, &led) else {
            let most = led.iter().max().copied().unwrap_or(0);
            return most - led.iter().min().copied().unwrap_or(0);
        };
        for handover in chain {
            let members = &mut placed[handover.shard];
            let position = members.iter().position(|node| *node == handover.to).expect("a leader is a replica");
            members.swap(0, position);
        }
    }
}

fn led(placed: &[Vec<usize>], node_count: usize) -> Vec<usize> {
    let mut led = vec![0; node_count];
    placed.iter().for_each(|members| led[members[0]] += 1);
    led
}

/// A chain that makes the numbers more even, from the busiest node that has one.
fn chain(placed: &[Vec<usize>], led: &[usize]) -> Option<Vec<Handover>> {
    let mut busiest: Vec<usize> = (0..led.len()).filter(|node| led[*node] > 1).collect();
    busiest.sort_by_key(|node| (std::cmp::Reverse(led[*node]), *node));
    busiest.into_iter().find_map(|from| shortest_chain_from(placed, led, from))
}

/// The shortest chain of handovers from this node to one that leads at least two shards less; nodes in between keep
/// their numbers. Each handover is of another shard, so their order does not matter.
fn shortest_chain_from(placed: &[Vec<usize>], led: &[usize], from: usize) -> Option<Vec<Handover>> {
    let mut reached: Vec<Option<Handover>> = vec![None; led.len()];
    let mut frontier = vec![from];
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for leader in frontier {
            for (shard, members) in placed.iter().enumerate().filter(|(_, members)| members[0] == leader) {
                for &to in &members[1..] {
                    if to != from && reached[to].is_none() {
                        reached[to] = Some(Handover { shard, from: leader, to });
                        next.push(to);
                    }
                }
            }
        }
        let accepted = next.iter().copied().filter(|node| led[*node] + 2 <= led[from]);
        if let Some(end) = accepted.min_by_key(|node| (led[*node], *node)) {
            return Some(std::iter::successors(reached[end], |handover| reached[handover.from]).collect());
        }
        frontier = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_pass_through_nodes_that_keep_their_numbers() {
        // Node 0 leads three shards and shares none with node 2, which leads none.
        let mut placed = vec![vec![0, 1], vec![0, 1], vec![0, 1], vec![1, 2], vec![1, 2]];
        assert_eq!(even_out(&mut placed, 3), 1);
        assert_eq!(led(&placed, 3), [2, 2, 1]);
    }

    #[test]
    fn what_the_replicas_do_not_allow_is_reported() {
        let mut placed = vec![vec![0, 1]; 8];
        assert_eq!(even_out(&mut placed, 3), 4);
    }
}

"""A random agent in plain Gymnasium: numpy in, numpy out, no TorchRL and no network.

python examples/gymnasium_random_agent.py
"""

import gymnasium

import latent_rl.envs  # noqa: F401  registers the puzzles

env = gymnasium.make("latent_rl/Sudoku-v0", size=4, width=8, max_steps=4, render_mode="ansi")
env.action_space.seed(0)
observation, info = env.reset(seed=0)
print(env.render())
done, total = False, 0.0
while not done:
    # An action is a whole recursion step: the latents to come, the answer read from them, and whether to stop.
    action = env.action_space.sample()
    observation, reward, terminated, truncated, info = env.step(action)
    done, total = terminated or truncated, total + float(reward)
    print(f"step {observation['step']}: reward {reward:+.3f}, {info['quality']:.0%} of the cells right")
print(f"return {total:+.3f}, solved: {bool(info['solved'])}")
env.close()

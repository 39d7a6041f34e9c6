"""Environments to differentiate through, and small ones that each test one behaviour.

Importing this package registers them with Gymnasium, as does `gym.make("envs:rlsample/CartPole-v1")`.
"""

from rlsample.in_graph.registration import register

register("rlsample/CartPole-v1", f"{__name__}.cartpole:CartPole", 500, reward_threshold=475.0)
register("rlsample/Acrobot-v1", f"{__name__}.acrobot:Acrobot", 500, reward_threshold=-100.0)
register("rlsample/MountainCar-v0", f"{__name__}.mountain_car:MountainCar", 200, reward_threshold=-110.0)
register("rlsample/GridWorld-v0", f"{__name__}.grid_world:GridWorld", 100)
register("rlsample/Bandit-v0", f"{__name__}.bandit:Bandit", 1)
register("rlsample/Identity-v0", f"{__name__}.identity:Identity", 32)
register("rlsample/MultiDiscrete-v0", f"{__name__}.multi_discrete:MultiDiscrete", 32)
register("rlsample/RaggedDict-v0", f"{__name__}.ragged_dict:RaggedDict", 32)
register("rlsample/TMaze-v0", f"{__name__}.t_maze:TMaze", 200, reward_threshold=0.95)
register("rlsample/Breakout-v0", f"{__name__}.breakout:Breakout", 1000)

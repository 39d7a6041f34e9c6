"""Environments to differentiate through, and small ones that each test one behaviour.

Importing this package registers them with Gymnasium, as does `gym.make("envs:rlsample/CartPole-v1")`.
"""

from rlsample.in_graph.registration import register
from rlsample.rollouts.several_agents import registration as several_agents

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
register("rlsample/Asterix-v0", f"{__name__}.asterix:Asterix", 1000)
register("rlsample/Freeway-v0", f"{__name__}.freeway:Freeway", 2500)
register("rlsample/SpaceInvaders-v0", f"{__name__}.space_invaders:SpaceInvaders", 1000)
register("rlsample/Coordination-v0", f"{__name__}.coordination:Coordination", 1)
register("rlsample/SpeakerListener-v0", f"{__name__}.speaker_listener:SpeakerListener", 100)
register("rlsample/Foraging-v0", f"{__name__}.foraging:Foraging", 50)

# Those of mpe2 that have discrete actions, once it is installed: pip install 'rlsample[multi_agent]'.
for _name in ("simple_reference_v3", "simple_speaker_listener_v4", "simple_spread_v3", "simple_tag_v3"):
    several_agents.register(
        f"mpe2/{_name.replace('_v', '-v')}",
        f"mpe2.{_name}:parallel_env",
        max_episode_steps=25,
        max_cycles=25,
        continuous_actions=False,
    )

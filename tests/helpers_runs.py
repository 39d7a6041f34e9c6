"""A run for agents to train in, without folder, display or evaluation."""


class Silent:
    """A run that nobody watches."""

    stopping = False
    resumed = None
    due_every = None

    def __init__(self):
        self.records, self.saved, self.said = [], [], []
        self.planned = None

    def plan(self, total_steps):
        self.planned = total_steps

    def say(self, text):
        self.said.append(text)

    def log(self, step, metrics, update=None):
        self.records.append({"step": step, "update": update, **metrics})

    def evaluation_due(self, step):
        return False

    def evaluate_when_due(self, policy, step):
        pass

    def save_due(self):
        return False

    def save(self, policy, snapshot=None, step=None):
        self.saved.append(snapshot)

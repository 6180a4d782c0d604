"""What counts as a step of `NTKWeights`, and trainings that go on."""

import pytest
import torch

from tests.integrations.losses import Loop


def test_updates_come_before_step_one_and_then_every_few():
    loop = Loop(every=3)
    optimizer = torch.optim.Adam(loop.net.parameters(), 1e-2)
    for _ in range(8):
        optimizer.zero_grad()
        loop.loss().backward()
        optimizer.step()
    assert loop.updates == [0, 3, 6]
    assert loop.ntk.history[0]["weight/end"] != loop.ntk.history[1]["weight/end"]


def test_accumulated_gradients_and_several_optimizers_are_one_step():
    loop = Loop(every=2)
    optimizers = [torch.optim.Adam([p], 1e-2) for p in loop.net.parameters()]
    for _ in range(5):
        for _ in range(3):
            loop.loss().backward()
        for optimizer in optimizers:
            optimizer.step()
    assert loop.updates == [0, 2, 4] and loop.ntk.steps == 4


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_weights_stay_within_a_closure(search):
    loop = Loop(every=2)
    optimizer = torch.optim.LBFGS(loop.net.parameters(), lr=0.1, max_iter=4, line_search_fn=search)
    seen = []

    def closure():
        optimizer.zero_grad()
        loss = loop.loss()
        loss.backward()
        seen[-1].append(loop.ntk.weights["end"])
        return loss

    for _ in range(5):
        seen.append([])
        optimizer.step(closure)
        loop.loss(update=False)
    assert loop.updates == [0, 2, 4]
    assert all(len(weights) > 1 and len(set(weights)) == 1 for weights in seen)
    assert len({weights[0] for weights in seen}) == 3


def test_a_logging_call_between_closures_is_no_step_of_its_own():
    loop = Loop(every=1)
    optimizer = torch.optim.LBFGS(loop.net.parameters(), lr=0.1, max_iter=3)

    def closure():
        optimizer.zero_grad()
        loss = loop.loss()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
        loop.loss()
    assert loop.updates == [0, 1, 2, 3]


def test_a_closure_that_failed_leaves_no_trace():
    loop = Loop(every=1)
    optimizer = torch.optim.Adam(loop.net.parameters(), 1e-2)

    def broken():
        loop.loss().backward()
        raise KeyError

    def closure():
        loss = loop.loss()
        loss.backward()
        return loss

    with pytest.raises(KeyError):
        optimizer.step(broken)
    for _ in range(3):
        optimizer.step(closure)
    assert loop.updates == [0, 1, 2]


@pytest.mark.parametrize("change", ["in place", "by data", "by new data"])
def test_steps_without_an_optimizer_count(change):
    loop = Loop(every=2)
    for _ in range(5):
        grads = torch.autograd.grad(loop.loss(), list(loop.net.parameters()))
        for p, g in zip(loop.net.parameters(), grads, strict=True):
            if change == "in place":
                with torch.no_grad():
                    p -= 0.01 * g
            elif change == "by data":
                p.data.sub_(0.01 * g)
            else:
                p.data = p.data - 0.01 * g
    assert loop.updates == [0, 2, 4]


def test_a_skipped_step_of_a_gradient_scaler_is_none():
    loop = Loop(every=1)
    optimizer = torch.optim.Adam(loop.net.parameters(), 1e-2)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for broken in (False, True, True, False, False):
        optimizer.zero_grad()
        scaler.scale(loop.loss()).backward()
        if broken:
            loop.net[0].weight.grad[0, 0] = torch.inf
        scaler.step(optimizer)
        scaler.update()
    assert loop.updates == [0, 1, 2]


def test_validation_neither_counts_nor_updates():
    loop = Loop(every=1)
    with torch.no_grad():
        assert float(loop.loss()) == pytest.approx(float(loop.loss(update=False).detach()))
        assert loop.ntk.weights == {} and loop.updates == []
    optimizer = torch.optim.SGD(loop.net.parameters(), 1e-2)
    loop.loss().backward()
    optimizer.step()
    weights = loop.ntk.weights
    with torch.no_grad():
        validation = loop.loss()
        expected = sum(
            weights[name] * e.square().mean()
            for name, e in {"inside": loop.net(loop.x) - 1, "end": loop.net(loop.x[:1])}.items()
        )
        assert float(validation) == pytest.approx(float(expected), rel=1e-12)
    loop.loss(update=False)
    assert loop.ntk.weights == weights and loop.ntk.steps == 0
    loop.loss(update=True)
    assert loop.ntk.weights != weights and loop.ntk.steps == 1


def test_a_restored_training_goes_on_bit_for_bit(tmp_path):
    def steps(loop, optimizer, count):
        for _ in range(count):
            optimizer.zero_grad()
            loop.loss().backward()
            optimizer.step()

    whole = Loop(every=3, momentum=0.5)
    optimizer = torch.optim.Adam(whole.net.parameters(), 1e-2)
    steps(whole, optimizer, 4)
    torch.save([whole.net.state_dict(), optimizer.state_dict(), whole.ntk.state_dict()], tmp_path / "c.pt")
    steps(whole, optimizer, 5)

    again = Loop(every=3, momentum=0.5)
    restored = torch.optim.Adam(again.net.parameters(), 1e-2)
    for part, state in zip((again.net, restored, again.ntk), torch.load(tmp_path / "c.pt", weights_only=True), strict=True):
        part.load_state_dict(state)
    steps(again, restored, 5)
    assert again.updates == whole.updates == [0, 3, 6]
    assert again.ntk.state_dict()["history"] == whole.ntk.state_dict()["history"]
    assert all(torch.equal(a, b) for a, b in zip(again.net.parameters(), whole.net.parameters(), strict=True))

"""Trains small models with the packages themselves and writes each beside rows and what the package predicts for them.

Usage: originals.py FOLDER, or originals.py FOLDER pictures for a network of 28x28 pixels and 10 classes. Rows are JSON, missing values null; singles and doubles are written so that they come back."""

import json
import pathlib
import sys

import lightgbm
import numpy as np
import onnx
import onnxruntime
import scipy.optimize
import xgboost
from onnx import TensorProto, helper, numpy_helper

FOLDER = pathlib.Path(sys.argv[1])
NAMES = [f"f_{i}" for i in range(6)]
random = np.random.default_rng(11)


def made_up(rows):
    x = random.normal(size=(rows, len(NAMES))).astype(np.float32)
    x[:, 3] = np.where(random.random(rows) < 0.6, 0, x[:, 3])  # mostly zeros
    x[:, 4] = np.round(x[:, 4] * 2)  # ties, and values that are thresholds
    x[random.random(x.shape) < 0.15] = np.nan
    known = np.nan_to_num(x)
    y = known[:, 0] + known[:, 1] * known[:, 3] + np.isnan(x[:, 2]) + random.normal(size=rows) * 0.5 > 0.3
    return x, y.astype(int)


def save(name, kind, rows, predicted, **more):
    rows = [[None if np.isnan(v) else float(v) for v in row] for row in np.asarray(rows, dtype=np.float64)]
    case = {"kind": kind, "features": [f"f_{i}" for i in range(len(rows[0]))], "rows": rows, "probabilities": [float(p) for p in predicted], **more}
    (FOLDER / f"{name}.case.json").write_text(json.dumps(case))


def lightgbm_models():
    x, y = made_up(3000)
    probes, _ = made_up(500)
    common = {"objective": "binary", "verbose": -1, "num_leaves": 31, "seed": 1, "num_threads": 1}
    variants = {
        "nan": {},
        "zero": {"zero_as_missing": True},
        "none": {"use_missing": False},
        "sigmoid": {"sigmoid": 0.7, "boost_from_average": False},
        "forest": {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6, "feature_fraction": 0.7},
        "dart": {"boosting": "dart"},
        "entropy": {"objective": "cross_entropy"},
        "stump": {"num_leaves": 2, "min_data_in_leaf": 2000},
    }
    for name, parameters in variants.items():
        data = lightgbm.Dataset(x, y, feature_name=NAMES)
        booster = lightgbm.train(common | parameters, data, 120)
        booster.save_model(FOLDER / f"lightgbm-{name}.model")
        save(f"lightgbm-{name}", "lightgbm", probes, booster.predict(probes))


def xgboost_models():
    x, y = made_up(3000)
    probes, _ = made_up(500)
    common = {"objective": "binary:logistic", "max_depth": 5, "seed": 1, "nthread": 1}
    variants = {
        "plain": {},
        "base": {"base_score": 0.1, "max_depth": 8},
        "lossguide": {"tree_method": "hist", "grow_policy": "lossguide", "max_leaves": 20},
        "parallel": {"num_parallel_tree": 3, "subsample": 0.7},
        "reg": {"objective": "reg:logistic"},
        "pruned": {"gamma": 4.0, "tree_method": "exact"},
    }
    for name, parameters in variants.items():
        data = xgboost.DMatrix(x, label=y, feature_names=NAMES)
        booster = xgboost.train(common | parameters, data, 120)
        path = FOLDER / f"xgboost-{name}.json"
        booster.save_model(path)
        path.rename(FOLDER / f"xgboost-{name}.model")
        save(f"xgboost-{name}", "xgboost", probes, booster.predict(xgboost.DMatrix(probes, feature_names=NAMES)))


def dense(name, sizes, last, width):
    """A feed-forward net of these layers, ReLU between them."""
    nodes, weights, value = [], [], "input"
    for i, (rows, columns) in enumerate(zip(sizes, sizes[1:])):
        w = (random.normal(size=(rows, columns)) / np.sqrt(rows)).astype(np.float32)
        b = (random.normal(size=columns) / 10).astype(np.float32)
        weights += [numpy_helper.from_array(w, f"w{i}"), numpy_helper.from_array(b, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"gemm{i}"]))
        value = f"gemm{i}"
        if i + 2 < len(sizes):
            nodes.append(helper.make_node("Relu", [value], [f"relu{i}"]))
            value = f"relu{i}"
    if last:
        nodes.append(helper.make_node(last, [value], ["output"]))
    else:
        nodes.append(helper.make_node("Identity", [value], ["output"]))
    shape = lambda label, n: helper.make_tensor_value_info(label, TensorProto.FLOAT, [width, n])
    graph = helper.make_graph(nodes, name, [shape("input", sizes[0])], [shape("output", sizes[-1])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path = FOLDER / f"{name}.model"
    path.write_bytes(model.SerializeToString())
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def onnx_models():
    probes, _ = made_up(200)
    impute = [0.5, -0.5, 0.0, 0.0, 1.0, 0.25]
    filled = np.where(np.isnan(probes), np.float32(impute), probes).astype(np.float32)
    for name, sizes, last, column, width in [
        ("onnx-sigmoid", [6, 8, 1], "Sigmoid", 0, "batch"),
        ("onnx-logit", [6, 5, 4, 1], None, 0, "batch"),
        ("onnx-softmax", [6, 8, 2], "Softmax", 1, "batch"),
        ("onnx-single", [6, 8, 1], "Sigmoid", 0, 1),
    ]:
        session = dense(name, sizes, last, width)
        values = np.array([session.run(None, {"input": row[None, :]})[0][0, column] for row in filled])
        predicted = values if last else 1 / (1 + np.exp(-values.astype(np.float64)))
        output = "probability" if last else "logit"
        more = {"output": output, "column": column, "impute": impute, "reference": [0.1] * len(NAMES)}
        save(name, "onnx", probes, predicted, onnx=more)


def pictures():
    session = dense("pictures", [784, 32, 32, 10], "Softmax", "batch")
    rows = random.random((200, 784)).astype(np.float32)
    predicted = [session.run(None, {"input": row[None, :]})[0][0, 3] for row in rows]
    more = {"output": "probability", "column": 3, "impute": [0.0] * 784, "reference": [0.0] * 784}
    save("pictures", "onnx", rows, predicted, onnx=more)


def logistic_models():
    """Weights by another optimiser: the same problem has one solution."""
    x, y = made_up(1000)
    mean, deviation = np.nanmean(x.astype(np.float64), axis=0), np.nanstd(x.astype(np.float64), axis=0)
    z = np.where(np.isnan(x), 0, (x - mean) / deviation)
    sign = 2 * y - 1

    def loss(w):
        margins = z @ w[:-1] + w[-1]
        slope = -sign / (1 + np.exp(sign * margins))
        gradient = np.append(z.T @ slope + w[:-1], slope.sum())
        return np.logaddexp(0, -sign * margins).sum() + w[:-1] @ w[:-1] / 2, gradient

    options = {"gtol": 1e-10, "ftol": 1e-15, "maxiter": 10000}
    found = scipy.optimize.minimize(loss, np.zeros(len(NAMES) + 1), jac=True, method="L-BFGS-B", options=options).x
    predicted = 1 / (1 + np.exp(-(z @ found[:-1] + found[-1])))
    save("logistic", "logistic", x, predicted, labels=[bool(v) for v in y])


if sys.argv[2:] == ["pictures"]:
    pictures()
else:
    lightgbm_models()
    xgboost_models()
    onnx_models()
    logistic_models()

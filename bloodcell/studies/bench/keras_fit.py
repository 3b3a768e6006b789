"""Keras on TensorFlow as its tutorials show it: ``model.fit``, images cached in memory, augmentation by layers."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from keras import layers

from bloodcell.studies.bench.work import (
    BATCH,
    DENSE,
    LEARNING_RATE,
    MEAN,
    ROTATION,
    SHIFT,
    SIZE,
    STD,
    WIDTHS,
    ZOOM,
    run_row,
    timed,
)


def epochs(root: Path, count: int, bf16: bool) -> tuple[int, list[float]]:
    """Train; return the number of training images, and the seconds of each epoch."""
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if bf16 else "float32")
    loaded = keras.utils.image_dataset_from_directory(
        str(root / "train"), image_size=SIZE, batch_size=BATCH, verbose=False
    )
    names, images = loaded.class_names, len(loaded.file_paths)
    batches = loaded.cache().shuffle(len(loaded)).prefetch(-1)
    for _ in batches:  # decoded once, before the clock starts
        pass
    one, two, three = WIDTHS
    model = keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            layers.RandomFlip(),
            layers.RandomRotation(ROTATION / 360),
            layers.RandomZoom(ZOOM),
            layers.RandomTranslation(SHIFT, SHIFT),
            layers.Rescaling(1 / 255 / STD, -MEAN / STD),
            layers.Conv2D(one, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(two, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(three, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(DENSE, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(len(names), activation="softmax", dtype="float32"),
        ]
    )
    model.compile(keras.optimizers.Adam(LEARNING_RATE), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return images, timed(count, lambda _: model.fit(batches, epochs=1, verbose=0))


if __name__ == "__main__":
    run_row(__doc__, epochs)
